/**
 * The session of a device that has moved to another node: it outlives its actor and continues to record events until the
 * device's next actor has its own session, so that reception is not interrupted. It makes no decisions. Facts are true
 * whichever process reports them, and an event that both sessions deliver is one event in the log, by its identity.
 *
 * It is `complete` if everything that the gateway ever sent over it was appended to the log: it was read without a pause
 * until the gateway answered its end, and the gateway did not report meanwhile that the account lost its connection.
 */
import { Effect, Exit, Scope } from "effect"
import type { EventLog } from "../../services/EventLog.ts"
import type { Session, SessionEvent, SessionListener } from "../../services/GatewayParts.ts"
import type { DeviceCell } from "./DeviceCell.ts"
import { findProof } from "./receptionGaps.ts"

/** The resources of an open session that was released by a cell. */
interface Held {
  readonly session: Session
  readonly scope: Scope.Closeable
}

export class PassedSession implements SessionListener {
  readonly #log: EventLog["Service"]
  readonly #held: Held
  #whole = true
  #over = false
  #finishing = false

  constructor(log: EventLog["Service"], held: Held) {
    this.#log = log
    this.#held = held
  }

  get over(): boolean {
    return this.#over
  }

  /** False while it is open. */
  get complete(): boolean {
    return this.#over && this.#whole
  }

  onEvent(event: SessionEvent): void {
    switch (event._tag) {
      case "Record":
        // There is no actor to wait for room, and events waiting in the socket must not be lost unnoticed.
        if (!this.#log.push(event.draft)) this.cut("log-full", "the log is over its bound")
        return
      case "UpstreamDisconnected":
      case "Replaced":
      case "LoggedOut":
        this.#whole = false
        return
      default:
        return
    }
  }

  onEnd(): void {
    this.#whole = false
    this.#over = true
  }

  /** The next actor's session is open: reads what the gateway has sent so far, and then ends this session. */
  finish(): void {
    if (this.#finishing || this.#over) return
    this.#finishing = true
    this.#held.session.finish((complete) => {
      if (!complete) this.#whole = false
      this.#over = true
    })
  }

  /** Ends it now. */
  cut(code: string, detail: string): void {
    this.#whole = false
    this.#over = true
    this.#held.session.end({ class: "transport", code, detail })
  }

  /** Releases its resources, and ends it if it is open. */
  get close(): Effect.Effect<void> {
    return Effect.suspend(() => {
      if (!this.#over) this.cut("passed", "another node has the device")
      return Scope.close(this.#held.scope, Exit.void)
    })
  }
}

/**
 * Whether the session may outlive the actor: its reception is not in doubt, no hand-over is in progress (so that a device
 * never has three sessions), and the gateway accepts a second session at the same time.
 */
export const mayPassOn = ({ actorState, host, paused, reception, session }: DeviceCell): boolean =>
  session !== null && !paused && actorState.state._tag === "Online" && host.gateway.capabilities.overlap &&
  reception.gaps.receivingSince !== null && reception.handOver === null && reception.suspects === null &&
  reception.refusedAt === null && !reception.doubted

/** Detaches the session from the cell. The actor records that it stops, and that the session continues. */
export const passOn = (cell: DeviceCell): void => {
  const { host, listener, session, sessionScope: scope } = cell
  if (listener === null || session === null || scope === null) return
  const passed = new PassedSession(host.log, { session, scope })
  cell.reception.handOver = findProof(cell)
  cell.reception.gaps = { ...cell.reception.gaps, receivingSince: null }
  listener.passTo(passed)
  cell.forgetSession()
  cell.passed = passed
  // Another process has claimed the device, and relies on none of our sessions.
  cell.onFenced = () => passed.cut("fenced", "not ours")
}
