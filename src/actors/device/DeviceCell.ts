/**
 * The state of a device that outlives restarts of its fiber, and the path from its session to the log.
 *
 * Frames do not pass through the fiber: the session calls the `FrameListener`, facts go straight into the log, and only
 * inputs that change the device's state are put into the inbox and wake the fiber. Plain fields and plain calls, because
 * there are ten thousand cells.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import type { DesiredDevice } from "../../domain/Device.ts"
import type { Failure } from "../../domain/DeviceState.ts"
import type { EventDraft } from "../../domain/Event.ts"
import type { WebhookState } from "../../domain/WebhookState.ts"
import type { SessionEvent, Session, SessionListener } from "../../services/GatewayParts.ts"
import type { ActorHost } from "./ActorHost.ts"
import { initial } from "./ActorState.ts"
import type { ActorState } from "./ActorState.ts"
import type { Input, StopRule } from "./DeviceBehaviour.ts"
import { endDoubt, endRefusal, notePosting, proveReception, push, transitMax, webhookMax } from "./receptionGaps.ts"
import type { PassedSession } from "./PassedSession.ts"
import { Reception } from "./Reception.ts"
import type { HeldSteps } from "./stateRecords.ts"

/** Inputs that concern the device, not its current session. */
const outlivesSession: ReadonlySet<Input["_tag"]> = new Set([
  "IncidentOver",
  "ReconnectRequested",
  "ReleaseRequested",
  "Crashed",
  "Fenced"
])

const retryDue: Input = { _tag: "RetryDue" }

/**
 * The device's memory, and the inbox of its fiber. Plain fields: one of these exists per device for as long as the
 * device runs, through restarts of its fiber.
 */
export class DeviceCell {
  device: DesiredDevice
  readonly host: ActorHost
  actorState: ActorState
  readonly reception = new Reception()
  /** The claim under which this actor decides. */
  epoch = 0
  /** The newest claim of which a decision was refused as stale. */
  refusedEpoch = -1
  /** Another process has claimed the device since: this actor has ended. */
  fenced = false
  session: Session | null = null
  sessionScope: Scope.Closeable | null = null
  listener: FrameListener | null = null
  /** Transitions that are not in the log yet; null if there are none. */
  held: HeldSteps | null = null
  /** Whether transitions to `Connecting` may be held back. */
  mayHold = false
  /** Since the last stable connection. */
  failuresInRow = 0
  framesReceived = 0
  lastFrameAt = 0
  lastWebhookAt = 0
  /** The state of its webhook at the gateway; null if the gateway cannot be configured. */
  webhook: WebhookState | null = null
  /** The number of webhooks that were signed for this device and refused. */
  webhooksRefused = 0
  restarts = 0
  lastFailure: Failure | null = null
  paused = false
  /** Withdraws the callback that ends the pause; null without a pause. */
  withdrawPause: (() => void) | null = null
  /** The log was over its bound before there was a session to pause. */
  pauseOnOpen = false
  statusAsked = false
  statusHinted = false
  /** How often the session has reported the account as lost: an answer to a question from before then is outdated. */
  losses = 0
  /** The first input of the fiber. */
  begin: Input = { _tag: "Start" }
  /** Why the fiber is interrupted, if it is. */
  stopRule: StopRule = "fleet-stopped"
  /** Its session shall outlive the fiber, for the next node of the device. */
  passesOn = false
  /** The session that has outlived the fiber. */
  passed: PassedSession | null = null

  /** At most one input of a kind: a newer hint replaces an older one, so the inbox is bounded by the kinds. */
  #inbox: Array<Input> = []
  #wake: ((effect: Effect.Effect<Input>) => void) | null = null
  /** Callers of `awaitDrained`; created on demand, because there is a cell per device. */
  #onDrained: Set<() => void> | null = null

  constructor(device: DesiredDevice, host: ActorHost) {
    this.device = device
    this.host = host
    this.actorState = initial(device.jid)
  }

  post(input: Input): void {
    const wake = this.#wake
    if (wake !== null) {
      this.#wake = null
      wake(Effect.succeed(input))
      return
    }
    const same = this.#inbox.findIndex((waiting) => waiting._tag === input._tag)
    if (same !== -1) this.#inbox.splice(same, 1)
    this.#inbox.push(input)
  }

  /** Inputs of a session are dropped when it ends: they do not apply to the next one. */
  forgetSession(): void {
    this.session = null
    this.sessionScope = null
    this.listener = null
    this.pauseOnOpen = false
    this.endPause()
    if (this.#inbox.length > 0) this.#inbox = this.#inbox.filter((waiting) => outlivesSession.has(waiting._tag))
  }

  /** The session is read again, or has ended: its callback must not end the pause of the next session. */
  endPause(): void {
    this.withdrawPause?.()
    this.withdrawPause = null
    if (!this.paused) return
    this.paused = false
    const { pausedAt } = this.reception
    if (pausedAt !== null) this.reception.lastPause = { from: pausedAt, to: this.host.now() }
    this.reception.pausedAt = null
    this.host.meter.paused(-1)
  }

  /**
   * Called when a decision is refused: another process has claimed the device since. Belongs to the claim of that decision.
   */
  onFenced: () => void = () => {}

  /** From now on the actor decides under this claim. The refusal of a decision under an older claim is ignored after that. */
  claimed(epoch: number): void {
    this.epoch = epoch
    this.onFenced = () => {
      this.refusedEpoch = epoch
      if (this.epoch === epoch) this.post({ _tag: "Fenced" })
    }
  }

  /** Completes once the actor has handled everything that was posted before and waits for more. */
  awaitDrained(): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      if (this.#wake !== null) return resume(Effect.void)
      const done = () => resume(Effect.void)
      const waiting = this.#onDrained ??= new Set()
      waiting.add(done)
      return Effect.sync(() => waiting.delete(done))
    })
  }

  /** The next input, in order of arrival. */
  readonly take: Effect.Effect<Input> = Effect.callback<Input>((resume) => this.#await(resume))

  /** As `take`, for a device that continues by itself at this time of the monotonic clock, or soon after it. */
  takeUntil(at: number): Effect.Effect<Input> {
    const { alarms } = this.host
    return Effect.callback<Input>((resume) => {
      const withdraw = this.#await((input) => {
        alarms.cancel(this)
        resume(input)
      })
      if (withdraw === undefined) return
      alarms.planAt(this, at)
      return Effect.andThen(withdraw, Effect.sync(() => alarms.cancel(this)))
    })
  }

  /** The time passed to `takeUntil` has come. */
  alarm(): void {
    this.post(retryDue)
  }

  #await(resume: (effect: Effect.Effect<Input>) => void): Effect.Effect<void> | undefined {
    const input = this.#inbox.shift()
    if (input !== undefined) {
      resume(Effect.succeed(input))
      return undefined
    }
    this.#wake = resume
    if (this.#onDrained !== null) {
      for (const done of this.#onDrained) done()
      this.#onDrained = null
    }
    return this.#withdraw
  }

  readonly #withdraw = Effect.sync(() => {
    this.#wake = null
  })

  incidentOver(): void {
    this.post({ _tag: "IncidentOver" })
  }
}

/**
 * Listens to one session of a device. An abandoned session keeps its listener, but the listener no longer belongs to the
 * cell: late events of a closing socket cannot disturb the next session.
 */
export class FrameListener implements SessionListener {
  readonly #cell: DeviceCell
  #passed: SessionListener | null = null

  constructor(cell: DeviceCell) {
    this.#cell = cell
  }

  /** The session continues without the cell. */
  passTo(passed: SessionListener): void {
    this.#passed = passed
  }

  onEvent(event: SessionEvent): void {
    const cell = this.#cell
    if (this.#passed !== null) return this.#passed.onEvent(event)
    if (cell.listener !== this) return
    cell.framesReceived++
    cell.host.meter.frame()
    // A defect caused by a frame of this device must affect this device only: its own fiber gets it.
    try {
      this.#handle(cell, event)
    } catch (defect) {
      cell.post({ _tag: "Crashed", detail: describeDefect(defect) })
    }
  }

  onEnd(failure: Failure): void {
    if (this.#passed !== null) this.#passed.onEnd(failure)
    else if (this.#cell.listener === this) this.#cell.post({ _tag: "Ended", failure, retryAfter: 0 })
  }

  #handle(cell: DeviceCell, event: SessionEvent): void {
    switch (event._tag) {
      case "Record":
        if (!cell.host.log.push(event.draft)) pauseUntilRoom(cell)
        return noteTraffic(cell, event.draft)
      case "UpstreamDisconnected":
      case "Replaced":
      case "LoggedOut":
        cell.losses++
        return cell.post(event)
      case "UpstreamConnected":
      case "LoginNeeded":
      case "StatusHint":
        return cell.post(event)
      default:
        throw new Error(`unknown event ${String((event as { readonly _tag: unknown })._tag)}`)
    }
  }
}

/** A message shows that the account behind the slot is connected. */
const noteTraffic = (cell: DeviceCell, draft: EventDraft): void => {
  cell.lastFrameAt = cell.host.clock.currentTimeMillisUnsafe()
  cell.reception.noteLive(draft, cell.host.now())
  if (cell.reception.doubted) push(cell, endDoubt(cell))
  if (draft.kind === "message.received") cell.host.backfill.changed(cell)
  if (cell.actorState.state._tag !== "Online" && draft.kind.startsWith("message.")) {
    cell.post({ _tag: "TrafficReceived" })
  }
}

/**
 * Events that came by a webhook and are in the log. Webhooks come late and in any order, so a hint among them proves
 * nothing about the present: it only triggers a status question. Repeats show that an event was delivered, if late, and
 * have no other effect.
 */
export const receiveWebhook = (
  cell: DeviceCell,
  events: ReadonlyArray<SessionEvent>,
  repeats: ReadonlyArray<EventDraft>
): void => {
  notePosting(cell, cell.host.now() - webhookMax(cell) - transitMax)
  for (const draft of repeats) cell.reception.clear(draft)
  if (repeats.length > 0) cell.host.backfill.changed(cell)
  if (events.length === 0) return
  cell.lastWebhookAt = cell.host.clock.currentTimeMillisUnsafe()
  if (cell.reception.refusedAt !== null) push(cell, endRefusal(cell))
  for (const event of events) {
    cell.framesReceived++
    cell.host.meter.frame()
    if (event._tag === "Record") noteTraffic(cell, event.draft)
    else cell.host.status.want(cell, "soon")
  }
}

/**
 * Stops reading this device's socket until the log has room. A dialect that must not stop reading ends its session instead,
 * and misses the events that the gateway sends until the next one.
 */
export const pauseUntilRoom = (cell: DeviceCell): void => {
  if (cell.paused) return
  const session = cell.session
  if (session === null) {
    cell.pauseOnOpen = true
    return
  }
  if (!session.pause()) {
    return session.end({ class: "transport", code: "log-full", detail: "the log is over its bound" })
  }
  cell.paused = true
  cell.reception.pausedAt = cell.host.now()
  cell.host.backfill.changed(cell)
  cell.host.meter.paused(1)
  const withdraw = cell.host.log.onRoom(() => {
    session.resume()
    cell.endPause()
    if (cell.actorState.state._tag === "Online") push(cell, proveReception(cell))
  })
  // If there was room already, the callback has been called and there is nothing to withdraw.
  if (cell.paused) cell.withdrawPause = withdraw
}

/** A defect's message, truncated: it may quote content from a stranger. */
export const describeDefect = (defect: unknown): string => {
  const text = defect instanceof Error ? `${defect.name}: ${defect.message}` : String(defect)
  return text.slice(0, 200)
}
