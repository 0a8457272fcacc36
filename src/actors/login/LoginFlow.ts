/**
 * One login of one device, from the first code to its end: requests codes from the gateway, replaces each before it
 * expires, checks whether it was used, and ends only once the gateway's status is connected and logged in and the device's
 * actor has recorded the account.
 *
 * Codes exist only in the current step, in memory. The records contain only that a login began and how it ended.
 */
import { Cause, Clock, Duration, Effect, Exit, Fiber, Redacted } from "effect"
import type { Scope, Semaphore } from "effect"
import type { UpstreamStatus } from "../../domain/Device.ts"
import type { DeviceLoginData, LoginFailure, LoginStep } from "../../domain/Login.ts"
import { isLast } from "../../domain/Login.ts"
import { parsePhone } from "../../domain/Jid.ts"
import { Condition } from "../../services/Condition.ts"
import { makeEventId } from "../../services/EventIdentity.ts"
import type { Login, LoginCode, LoginProgress, LoginRequest } from "../../services/GatewayParts.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { drawPng } from "../../services/qrCode.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"

/** How often the gateway is asked whether a code was used: a person waits for the answer. */
export const lookInterval = Duration.seconds(1)

/** How long before its expiry a code is replaced, so that no code is scanned that the gateway is about to drop. */
export const refreshMargin = Duration.seconds(5)

/**
 * Maximum number of codes per login. WhatsApp's own clients show this many QR codes; a pairing code lasts almost three
 * minutes.
 */
export const codesMax: Readonly<Record<LoginRequest["method"], number>> = { qr: 6, code: 3 }

/** A login that has shown the same code for this long, or waited this long for a passkey, was abandoned by its caller. */
export const loginMax = Duration.minutes(10)

/** How long the connection may take after the phone has accepted; GOWA connects within half a minute. */
export const confirmMax = Duration.seconds(60)

/**
 * Maximum number of failures in a row: a gateway that fails once may be busy, one that fails this often will not start a
 * login.
 */
const failuresMax = 3
const failureDelay = Duration.seconds(2)

/** The actor records an account at once if its session is open, and otherwise once it opens. */
const recordMax = Duration.seconds(10)
const recordLook = Duration.millis(100)

/** Records are committed within milliseconds; longer means that the database is unavailable. */
const flushMax = Duration.seconds(5)

export class LoginFlow {
  readonly cell: DeviceCell
  readonly request: LoginRequest
  /** Held while the gateway is asked to begin, also by a cancelled flow: one request per device at a time. */
  readonly turn: Semaphore.Semaphore
  /** The fleet's scope: requests that outlive a cancelled flow end with it. */
  readonly scope: Scope.Scope
  readonly changes = new Condition()
  step: LoginStep = { _tag: "Starting" }
  /** Counts the steps, so that a reader can compare it with the last step it has seen. */
  version = 0
  codes = 0
  /** Callers that read its steps. */
  readers = 0
  /** The time until which polling callers count as present; monotonic. */
  leaseUntil = 0
  #shown: LoginCode | null = null

  constructor(cell: DeviceCell, request: LoginRequest, turn: Semaphore.Semaphore, scope: Scope.Scope) {
    this.cell = cell
    this.request = request
    this.turn = turn
    this.scope = scope
  }

  get isOver(): boolean {
    return isLast(this.step)
  }

  isWanted(now: number): boolean {
    return this.readers > 0 || now < this.leaseUntil
  }

  show(step: LoginStep): void {
    this.step = step
    this.version++
    this.changes.changed()
  }

  /** Showing the same code again keeps its number. */
  showCode(code: LoginCode, wall: number): void {
    if (this.#shown === null || !isSame(this.#shown, code)) this.codes++
    this.#shown = code
    const shown = { expiresAt: new Date(wall + code.millis).toISOString(), attempt: this.codes }
    if (code._tag === "Code") return this.show({ _tag: "Code", code: code.code, ...shown })
    const png = code.text === null ? Redacted.value(code.png!) : drawPng(Redacted.value(code.text))
    const image = Redacted.make(`data:image/png;base64,${Buffer.from(png).toString("base64")}`)
    this.show({ _tag: "Qr", image, ...(code.text === null ? {} : { text: code.text }), ...shown })
  }
}

const isSame = (one: LoginCode, other: LoginCode): boolean => {
  if (one._tag === "Code" || other._tag === "Code") {
    return one._tag === "Code" && other._tag === "Code" && Redacted.value(one.code) === Redacted.value(other.code)
  }
  return one.text !== null && other.text !== null && Redacted.value(one.text) === Redacted.value(other.text)
}

/** How a flow ends. */
export type End = Extract<LoginStep, { readonly _tag: "LoggedIn" | "Failed" | "Expired" }>

export const failed = (reason: LoginFailure, message: string): End => ({ _tag: "Failed", reason, message })

/** Runs the login to its end. Whatever ends it, its last step contains the reason, and the end is recorded. */
export const run = (flow: LoginFlow, login: Login): Effect.Effect<void> =>
  Effect.suspend(() => {
    record(flow, { outcome: "begun", reason: null, jid: null })
    const { host } = flow.cell
    return Effect.onExit(host.webhooks.around(flow.cell, live(flow, login)), (exit) => {
      if (Exit.isSuccess(exit)) finish(flow, exit.value)
      else if (Cause.hasInterruptsOnly(exit.cause)) finish(flow, actorStopped)
      else {
        finish(flow, failed("other", "A defect in Columba ended the login"))
        // The defect may quote what the gateway sent, codes included: it is not logged.
        return Effect.logError("A login crashed").pipe(Effect.annotateLogs({ device: flow.cell.device.id }))
      }
      return Effect.void
    })
  }).pipe(Effect.exit, Effect.asVoid)

export const actorStopped = failed("stopped", "The device's actor stopped")

/** Ends it from outside, before its fiber is interrupted. */
export const finish = (flow: LoginFlow, end: End): void => {
  if (flow.isOver) return
  const outcome = end._tag === "LoggedIn" ? "succeeded" : end._tag === "Expired" ? "expired" : "failed"
  record(flow, {
    outcome,
    reason: end._tag === "Failed" ? end.reason : null,
    jid: end._tag === "LoggedIn" ? end.jid : null
  })
  flow.show(end)
}

const record = (
  { cell, codes, request }: LoginFlow,
  data: Pick<DeviceLoginData, "outcome" | "reason" | "jid">
): void => {
  const now = cell.host.clock.currentTimeMillisUnsafe()
  cell.host.log.push({
    id: makeEventId(now),
    kind: "device.login",
    deviceId: cell.device.id,
    occurredAt: new Date(now).toISOString(),
    via: "columba",
    data: { method: request.method, codes, ...data },
    identity: null,
    aliases: []
  }, { fence: { deviceId: cell.device.id, epoch: cell.epoch }, onFenced: cell.onFenced })
}

const targetOf = ({ cell }: LoginFlow) => ({
  deviceId: cell.device.id,
  upstreamId: cell.device.upstreamId,
  jid: cell.actorState.jid
})

const live = Effect.fnUntraced(function*(flow: LoginFlow, login: Login): Effect.fn.Return<End> {
  const clock = yield* Clock.Clock
  const until = monotonicMillis(clock) + Duration.toMillis(loginMax)
  while (flow.codes < codesMax[flow.request.method] && monotonicMillis(clock) < until) {
    const code = yield* begin(flow, login)
    if (!("millis" in code)) return code
    const began = monotonicMillis(clock)
    if (isWithdrawn(flow, began)) return cancelled
    flow.showCode(code, clock.currentTimeMillisUnsafe())
    const end = yield* watch(flow, login, code, Math.min(began + code.millis, until))
    if (end !== null) return end
  }
  return { _tag: "Expired" }
})

export const cancelled = failed("cancelled", "No caller is waiting for the login")

const isWithdrawn = (flow: LoginFlow, now: number): boolean => !flow.isWanted(now)

/** Requests the next code; returns the end if the gateway gives none. */
const begin = Effect.fnUntraced(function*(flow: LoginFlow, login: Login) {
  for (let failures = 1;; failures++) {
    const asked = yield* Effect.result(askToBegin(flow, login))
    if (asked._tag === "Success") return asked.success
    const refused = asked.failure
    if (refused._tag === "LoginRefused") {
      return refused.reason === "logged-in"
        ? yield* connectAccount(flow, refused.message)
        : failed(refused.reason, refused.message)
    }
    if (failures === failuresMax) return failed("gateway", refused.message)
    yield* Effect.sleep(failureDelay)
  }
})

/**
 * The request continues if the flow is cancelled meanwhile: the gateway is working on it, and would mix it up with the
 * request of the next flow, which waits for its turn.
 */
const askToBegin = (flow: LoginFlow, login: Login) =>
  Effect.flatMap(
    Effect.forkIn(flow.turn.withPermit(login.begin(targetOf(flow), flow.request)), flow.scope),
    Fiber.join
  )

/** The slot has an account already, which may only have to be connected. */
const connectAccount = Effect.fnUntraced(function*(flow: LoginFlow, message: string) {
  const { start } = flow.cell.host.gateway
  if (start !== undefined) yield* Effect.ignore(start(targetOf(flow)))
  const end = yield* confirm(flow)
  return end._tag === "LoggedIn" ? end : failed("logged-in", message)
})

/** Watches the code that is shown; returns null once it has to be replaced. */
const watch = Effect.fnUntraced(function*(flow: LoginFlow, login: Login, code: LoginCode, expiresAt: number) {
  const clock = yield* Clock.Clock
  const replaceAt = expiresAt - Duration.toMillis(refreshMargin)
  const passkeyUntil = monotonicMillis(clock) + Duration.toMillis(loginMax)
  let passkey = false
  while (true) {
    yield* Effect.sleep(lookInterval)
    const now = monotonicMillis(clock)
    if (isWithdrawn(flow, now)) return cancelled
    // A gateway that briefly does not answer has not ended the code.
    const progress = yield* Effect.orElseSucceed(
      login.look(targetOf(flow), code),
      (): LoginProgress => ({ _tag: "Waiting" })
    )
    switch (progress._tag) {
      case "Accepted":
        return yield* confirm(flow)
      case "Ended":
        return null
      case "Passkey":
        passkey = true
        showPasskey(flow, progress)
        if (now >= passkeyUntil) return expired
        break
      case "Waiting":
        if (passkey || now >= replaceAt) return null
        break
    }
  }
})

const expired: End = { _tag: "Expired" }

const showPasskey = (flow: LoginFlow, { challenge, code }: Extract<LoginProgress, { _tag: "Passkey" }>): void => {
  const { step } = flow
  const isShown = step._tag === "Passkey" && (step.challenge === null) === (challenge === null) &&
    (step.code === null ? null : Redacted.value(step.code)) === (code === null ? null : Redacted.value(code))
  if (!isShown) flow.show({ _tag: "Passkey", challenge, code })
}

/** The phone has accepted. The login succeeds once the account is connected and logged in and the actor has recorded it. */
const confirm = Effect.fnUntraced(function*(flow: LoginFlow): Effect.fn.Return<End> {
  const { gateway } = flow.cell.host
  const clock = yield* Clock.Clock
  flow.show({ _tag: "Linking" })
  const until = monotonicMillis(clock) + Duration.toMillis(confirmMax)
  while (monotonicMillis(clock) < until) {
    const status = yield* Effect.orElseSucceed(gateway.status(targetOf(flow)), () => null)
    if (status !== null && status.isConnected && status.isLoggedIn) {
      yield* handOver(flow, status)
      return {
        _tag: "LoggedIn",
        jid: status.jid,
        phone: status.jid === null ? null : parsePhone(status.jid)
      }
    }
    yield* Effect.sleep(lookInterval)
  }
  return failed("not-connected", "The phone accepted, but the gateway does not say that the account is connected")
})

/** Passes the account to the actor, which records it at once or with the next session. */
const handOver = Effect.fnUntraced(function*({ cell }: LoginFlow, status: UpstreamStatus) {
  if (!cell.actorState.sessionOpen) cell.post({ _tag: "ReconnectRequested" })
  const isRecorded = () =>
    cell.actorState.state._tag === "Online" && (status.jid === null || cell.actorState.jid === status.jid)
  const postStatus = Effect.suspend(() => {
    if (cell.actorState.sessionOpen && !isRecorded()) cell.post({ _tag: "StatusRead", status })
    return Effect.sleep(recordLook)
  })
  yield* Effect.ignore(Effect.timeoutOption(Effect.repeat(postStatus, { while: () => !isRecorded() }), recordMax))
  yield* Effect.timeoutOption(cell.host.log.flush, flushMax)
})
