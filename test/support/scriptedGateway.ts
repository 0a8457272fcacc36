/**
 * A gateway that follows the script of a test, in process. Only for tests of the actors: promises about sockets are tested
 * against the simulator.
 */
import { Deferred, Effect, Scope } from "effect"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { UpstreamStatus } from "../../src/domain/Device.ts"
import type { Failure, FailureClass } from "../../src/domain/DeviceState.ts"
import type { DeviceId, GatewayName } from "../../src/domain/Ids.ts"
import { SessionRefused } from "../../src/services/GatewayParts.ts"
import type {
  Capabilities,
  Ingest,
  Login,
  OpenSession,
  SessionEvent,
  SessionListener
} from "../../src/services/GatewayParts.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import { scriptedIngest } from "./scriptedWebhooks.ts"

/** `blackhole`: nothing answers, and the handshake reaches its time limit. */
export type OpenMode = "accept" | "hang" | "blackhole" | "defect" | FailureClass

export class ScriptedSession {
  readonly deviceId: DeviceId
  readonly listener: SessionListener
  open = true
  paused = false
  /** Its actor has closed it. */
  readonly closed = Deferred.makeUnsafe<void>()
  /** How a session ends that is asked to end in order: the gateway answers at once, or when the test lets it. */
  answersClose = true
  #finishing: ((complete: boolean) => void) | null = null

  constructor(deviceId: DeviceId, listener: SessionListener) {
    this.deviceId = deviceId
    this.listener = listener
  }

  say(happening: SessionEvent): void {
    if (this.open) this.listener.onEvent(happening)
  }

  lose(failureClass: FailureClass): void {
    this.end({ class: failureClass, code: "scripted", detail: "lost by the script" })
  }

  end(failure: Failure): void {
    if (!this.open) return
    this.open = false
    if (this.#finishing === null) this.listener.onEnd(failure)
    else this.#finishing(false)
  }

  finish(done: (complete: boolean) => void): void {
    if (!this.open) return done(false)
    this.#finishing = done
    if (this.answersClose) this.answerClose()
  }

  /** The gateway confirms the end. */
  answerClose(): void {
    if (!this.open) return
    this.open = false
    this.#finishing?.(true)
  }
}

export class ScriptedGateway implements WhatsAppGateway {
  readonly name = "default" as GatewayName
  readonly dialect = "bridge"
  readonly description = "scripted"
  readonly capabilities: Capabilities = {
    liveEvents: "session",
    history: null,
    ackLevels: ["delivered", "read"],
    qrRefresh: false,
    passkey: false,
    overlap: true
  }
  readonly sessions: Array<ScriptedSession> = []
  readonly openedAt: Array<number> = []
  mode: OpenMode = "accept"
  modeOf: (id: DeviceId) => OpenMode = () => this.mode
  /** Null: it does not answer. */
  answer: UpstreamStatus | null = { isConnected: true, isLoggedIn: true, jid: null }
  up = true
  probes = 0
  slots: Array<string> = []

  live(id?: DeviceId): Array<ScriptedSession> {
    return this.sessions.filter((session) => session.open && (id === undefined || session.deviceId === id))
  }

  loseAll(): void {
    for (const session of this.live()) session.lose("upstreamDown")
  }

  /** Waits until the device's actor has closed its current session. */
  untilClosed(id: DeviceId): Effect.Effect<void> {
    const [session] = this.live(id)
    return session === undefined ? Effect.void : Deferred.await(session.closed)
  }

  readonly open: OpenSession = (target, listener) =>
    Effect.gen({ self: this }, function*() {
      this.openedAt.push(yield* Effect.clockWith((clock) => clock.currentTimeMillis))
      const mode = this.modeOf(target.deviceId)
      if (mode === "hang") return yield* Effect.never
      if (mode === "defect") return yield* Effect.die(new Error("planted defect"))
      if (mode === "blackhole") {
        yield* Effect.sleep("10 seconds")
        return yield* new SessionRefused({
          message: "nothing answered",
          class: "upstreamDown",
          code: "handshake-timeout",
          retryAfter: null
        })
      }
      if (mode !== "accept") {
        return yield* new SessionRefused({
          message: "refused by the script",
          class: mode,
          code: "scripted",
          retryAfter: null
        })
      }
      const session = new ScriptedSession(target.deviceId, listener)
      this.sessions.push(session)
      const scope = yield* Effect.scope
      yield* Scope.addFinalizer(
        scope,
        Effect.sync(() => {
          session.open = false
          Deferred.doneUnsafe(session.closed, Effect.void)
        })
      )
      return {
        pause: () => (session.paused = true),
        resume: () => {
          session.paused = false
        },
        end: (failure: Failure) => session.end(failure),
        finish: (done: (complete: boolean) => void) => session.finish(done)
      }
    })

  #held: { count: number; resume: Array<(answer: UpstreamStatus) => void> } | null = null

  /** From now on questions about a slot are counted and get no answer until they are released. */
  holdStatus() {
    const held = { count: 0, resume: [] as Array<(answer: UpstreamStatus) => void> }
    this.#held = held
    return {
      /** Questions asked: all, and those without an answer so far. */
      count: () => held.count,
      open: () => held.resume.length,
      release: (answer: UpstreamStatus) => {
        for (const resume of held.resume.splice(0)) resume(answer)
      }
    }
  }

  login?: Login

  /** Absent where a test removes it. */
  ingest?: Ingest = scriptedIngest

  readonly status: WhatsAppGateway["status"] = () =>
    Effect.suspend(() =>
      this.#held !== null
        ? Effect.callback<UpstreamStatus>((resume) => {
          this.#held!.count++
          this.#held!.resume.push((answer) => resume(Effect.succeed(answer)))
        })
        : this.answer === null
        ? Effect.fail(GatewayUnavailable.of(this.name, "read a status", "no answer scripted"))
        : Effect.succeed(this.answer)
    )

  readonly ensureSlot: WhatsAppGateway["ensureSlot"] = (id) =>
    Effect.sync(() => {
      this.slots.push(id)
    })

  /** The next probes wait for this. */
  holdProbe(): Deferred.Deferred<void> {
    const held = Deferred.makeUnsafe<void>()
    this.#heldProbe = held
    return held
  }
  #heldProbe: Deferred.Deferred<void> | null = null

  probeCrashes = false

  readonly probe: WhatsAppGateway["probe"] = Effect.suspend(() => {
    this.probes++
    const held = this.#heldProbe
    return held === null ? this.#answerProbe : Effect.andThen(Deferred.await(held), this.#answerProbe)
  })

  readonly #answerProbe: WhatsAppGateway["probe"] = Effect.suspend(() => {
    if (this.probeCrashes) return Effect.die(new Error("planted defect in a probe"))
    return this.up ? Effect.void : Effect.fail(GatewayUnavailable.of(this.name, "answer a probe", "down by the script"))
  })
}
