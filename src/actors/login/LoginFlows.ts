/**
 * The logins of a fleet: at most one per device. Callers share it; it is cancelled when the last one has left. It exists in
 * memory only: a login ends with its process, and a code that the gateway still shows expires by itself.
 */
import { Clock, Duration, Effect, Redacted, Semaphore, Stream } from "effect"
import type { Fiber } from "effect"
import { DeviceStateConflict } from "../../domain/DeviceErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { isLast, LoginFailed, LoginInProgress, LoginNotFound, TooManyLogins } from "../../domain/Login.ts"
import type { LoginStep } from "../../domain/Login.ts"
import { noActor } from "../../services/FleetLogins.ts"
import type { FleetLogins, LoginRefusal } from "../../services/FleetLogins.ts"
import type { LoginRequest } from "../../services/GatewayParts.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import * as LoginFlow from "./LoginFlow.ts"

/**
 * How long a polling caller counts as present after its last request, and after the expiry of the code that it got: a
 * caller that shows a picture without polling is still present while the picture can be scanned.
 */
export const pollLease = Duration.seconds(30)

/** How long the end of a login can be read. */
export const resultKept = Duration.minutes(5)

/** Maximum number of concurrent logins, each of which asks its gateway once or twice a second. */
export const loginsMax = 200

/** How long a caller waits for its first step: less than an answer over HTTP may take. */
const firstStepMax = Duration.seconds(20)

export interface LoginFlows extends FleetLogins {
  /** The device's actor stops: its login ends with it. */
  readonly stop: (id: DeviceId) => void
}

interface Running {
  readonly flow: LoginFlow.LoginFlow
  readonly fiber: Fiber.Fiber<void>
}

export const make = Effect.fnUntraced(function*(find: (id: DeviceId) => DeviceCell | undefined) {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const running = new Map<DeviceId, Running>()
  const now = () => monotonicMillis(clock)

  const remove = (id: DeviceId, flow: LoginFlow.LoginFlow) => {
    if (running.get(id)?.flow === flow) running.delete(id)
  }

  /** Returns the running flow that fits the request, or a new one. Everything in here is synchronous. */
  const enter = Effect.fnUntraced(function*(id: DeviceId, request: LoginRequest): Effect.fn.Return<
    LoginFlow.LoginFlow,
    LoginRefusal
  > {
    const cell = find(id)
    if (cell === undefined) return yield* Effect.fail(noActor)
    const last = running.get(id)
    if (last !== undefined && !last.flow.isOver) {
      return fits(last.flow.request, request) ? last.flow : yield* LoginInProgress.of(id, last.flow.request.method)
    }
    const { _tag } = cell.actorState.state
    if (_tag === "Online" || _tag === "Quarantined") {
      return yield* DeviceStateConflict.of(id, "log in", _tag)
    }
    const { login, name } = cell.host.gateway
    if (login === undefined || !login.methods.has(request.method)) {
      const message = `Gateway '${name}' has no login by ${request.method === "qr" ? "QR code" : "pairing code"}`
      return yield* new LoginFailed({ id, reason: "method", message })
    }
    const underWay = [...running.values()].filter(({ flow }) => !flow.isOver).length
    if (underWay >= loginsMax) return yield* TooManyLogins.of(loginsMax)
    const flow = new LoginFlow.LoginFlow(cell, request, last?.flow.turn ?? Semaphore.makeUnsafe(1), scope)
    const forget = Effect.forkIn(Effect.delay(Effect.sync(() => remove(id, flow)), resultKept), scope)
    const fiber = yield* Effect.forkIn(Effect.ensuring(LoginFlow.run(flow, login), forget), scope)
    running.set(id, { flow, fiber })
    return flow
  }, Effect.uninterruptible)

  /** Ends the flow with this step, whatever it is doing; the step can be read for a while. */
  const end = (id: DeviceId, flow: LoginFlow.LoginFlow, step: LoginFlow.End): void => {
    LoginFlow.finish(flow, step)
    const found = running.get(id)
    if (found?.flow !== flow) return
    found.fiber.interruptUnsafe()
  }

  const leave = (id: DeviceId, flow: LoginFlow.LoginFlow) =>
    Effect.sync(() => {
      flow.readers--
      if (!flow.isWanted(now())) end(id, flow, LoginFlow.cancelled)
    })

  const follow: FleetLogins["follow"] = (id, request) =>
    Stream.unwrap(Effect.gen(function*() {
      const flow = yield* Effect.acquireRelease(
        Effect.tap(enter(id, request), (flow) => Effect.sync(() => flow.readers++)),
        (flow) => leave(id, flow)
      )
      let seen = -1
      const next = Effect.map(flow.changes.waitUntil(() => flow.version !== seen), () => {
        seen = flow.version
        return flow.step
      })
      return Stream.takeUntil(Stream.fromEffectRepeat(next), isLast)
    }))

  const renew = (flow: LoginFlow.LoginFlow): LoginStep => {
    const { step } = flow
    const left = "expiresAt" in step ? Math.max(0, Date.parse(step.expiresAt) - clock.currentTimeMillisUnsafe()) : 0
    flow.leaseUntil = Math.max(flow.leaseUntil, now() + left + Duration.toMillis(pollLease))
    return step
  }

  const begin: FleetLogins["begin"] = Effect.fn("LoginFlows.begin")(function*(id, request) {
    const flow = yield* enter(id, request)
    flow.leaseUntil = Math.max(flow.leaseUntil, now() + Duration.toMillis(firstStepMax) + Duration.toMillis(pollLease))
    yield* Effect.timeoutOption(flow.changes.waitUntil(() => flow.step._tag !== "Starting"), firstStepMax)
    return renew(flow)
  })

  const current = Effect.fnUntraced(function*(id: DeviceId) {
    if (find(id) === undefined) return yield* Effect.fail(noActor)
    const found = running.get(id)
    return found === undefined ? yield* LoginNotFound.of(id) : found.flow
  })

  const answerPasskey: FleetLogins["answerPasskey"] = Effect.fn("LoginFlows.answerPasskey")(
    function*(id, assertion) {
      const flow = yield* current(id)
      const { cell, step } = flow
      const passkey = cell.host.gateway.login?.passkey
      const isAsked = step._tag === "Passkey" && (assertion === null ? step.code !== null : step.challenge !== null)
      if (passkey === undefined || !isAsked) {
        const what = assertion === null ? "no code is to be compared" : "no passkey is asked for"
        return yield* new LoginFailed({ id, reason: "other", message: `In the login of device ${id} ${what} now` })
      }
      const target = { deviceId: id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
      yield* (assertion === null ? passkey.confirm(target) : passkey.answer(target, assertion)).pipe(
        Effect.catchTag(
          "LoginRefused",
          ({ message, reason }) => Effect.fail(new LoginFailed({ id, reason, message }))
        )
      )
      return renew(flow)
    }
  )

  return {
    follow,
    begin,
    current: (id) => Effect.map(current(id), renew),
    cancel: (id) =>
      Effect.map(current(id), (flow) => {
        end(id, flow, LoginFlow.cancelled)
        return flow.step
      }),
    answerPasskey,
    stop: (id) => {
      const found = running.get(id)
      if (found !== undefined) end(id, found.flow, LoginFlow.actorStopped)
    }
  } satisfies LoginFlows
})

/** Callers of the same login. The number is only compared, never shown. */
const fits = (one: LoginRequest, other: LoginRequest): boolean =>
  one.method === "code"
    ? other.method === "code" && Redacted.value(one.phone) === Redacted.value(other.phone)
    : other.method === "qr"
