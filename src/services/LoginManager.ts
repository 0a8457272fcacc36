/**
 * The operations of people and programs that log devices in and out: a part of `DeviceManager`, which covers a
 * device's whole life.
 */
import { Effect, Redacted, Stream } from "effect"
import type { Schema } from "effect"
import type { Device } from "../domain/Device.ts"
import { DeviceStateConflict, StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceNotFound, DeviceUnreachable, GatewayUnavailable, GatewayUnknown } from "../domain/DeviceErrors.ts"
import type { GatewayUnusable } from "../domain/GatewayErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { DeviceElsewhere, LoginFailed, LoginIncomplete, parseNumber, PhoneInvalid } from "../domain/Login.ts"
import type { LoginInProgress, LoginNotFound, LoginStep, LoginWay, TooManyLogins } from "../domain/Login.ts"
import type { DeviceStatus } from "../contracts/DevicePayloads.ts"
import type { DeviceFleet } from "./DeviceFleet.ts"
import type { DeviceRepository } from "./DeviceRepository.ts"
import type { EventLog } from "./EventLog.ts"
import { isNoActor } from "./FleetLogins.ts"
import type { NoActor } from "./FleetLogins.ts"
import { useGateway } from "./GatewayDirectory.ts"
import type { GatewayDirectory } from "./GatewayDirectory.ts"
import type { LoginRequest } from "./GatewayParts.ts"

/** Commits take milliseconds; more means that the database is unavailable. */
const flushMax = "5 seconds"

export interface AskedLogin {
  readonly id: DeviceId
  readonly method?: LoginWay | undefined
  readonly phone?: Redacted.Redacted | undefined
}

type Missing = DeviceNotFound | StorageUnavailable
/** The device's actor cannot be asked. */
type Away = DeviceElsewhere | DeviceUnreachable
type LoginRefusals =
  | DeviceStateConflict
  | Away
  | LoginFailed
  | LoginInProgress
  | PhoneInvalid
  | TooManyLogins
type GatewayFailure = GatewayUnknown | GatewayUnusable | GatewayUnavailable

export interface LoginManager {
  /** Begins or joins the device's login, and returns its step. */
  readonly initiateLogin: (asked: AskedLogin) => Effect.Effect<LoginStep, Missing | LoginRefusals>
  /** The same as a stream of steps, the current one first. Leaving it may cancel the login. */
  readonly followLogin: (asked: AskedLogin) => Stream.Stream<LoginStep, Missing | LoginRefusals>
  readonly currentLogin: (id: DeviceId) => Effect.Effect<LoginStep, Missing | Away | LoginNotFound>
  /** Ends the login under way, for all its callers. */
  readonly cancelLogin: (id: DeviceId) => Effect.Effect<LoginStep, Missing | Away | LoginNotFound>
  /** Asks the gateway, and records the account if it is connected and logged in. */
  readonly completeLogin: (
    id: DeviceId
  ) => Effect.Effect<Device, Missing | GatewayFailure | DeviceStateConflict | Away | LoginIncomplete>
  /** Without an assertion: confirms that the codes are the same. */
  readonly answerPasskey: (
    id: DeviceId,
    assertion: Redacted.Redacted<Schema.Json> | null
  ) => Effect.Effect<LoginStep, Missing | Away | LoginNotFound | LoginFailed | GatewayUnavailable>
  /** Logs the account out at its gateway, wherever the device's actor lives. */
  readonly disconnect: (id: DeviceId) => Effect.Effect<
    Device,
    Missing | GatewayFailure | DeviceUnreachable | LoginFailed
  >
}

export const make = ({ devices, directory, fleet, log, node, syncStatus }: {
  readonly devices: DeviceRepository["Service"]
  readonly directory: GatewayDirectory["Service"]
  readonly fleet: DeviceFleet["Service"]
  readonly log: EventLog["Service"]
  readonly node: string
  readonly syncStatus: (id: DeviceId) => Effect.Effect<DeviceStatus, Missing | DeviceUnreachable | GatewayFailure>
}): LoginManager => {
  const elsewhere = Effect.fnUntraced(function*(id: DeviceId): Effect.fn.Return<never, Missing | DeviceElsewhere> {
    return yield* DeviceElsewhere.of(id, node, yield* devices.owner(id))
  })

  const findNoActor = <A, E>(id: DeviceId, use: Effect.Effect<A, E | NoActor>) =>
    Effect.catchIf(
      use,
      (error): error is Extract<E | NoActor, NoActor> => isNoActor(error),
      () => elsewhere(id)
    )

  /** A device that was just added or reactivated has no actor yet: the fleet reconciles at once. */
  const awaitActor = (id: DeviceId) =>
    Effect.flatMap(fleet.view(id), (view) => view === null ? fleet.reconcile : Effect.void)

  const prepare = Effect.fnUntraced(function*({ id, method = "qr", phone }: AskedLogin) {
    const device = yield* devices.get(id)
    if (!device.active) return yield* DeviceStateConflict.of(id, "log in", "Inactive")
    const number = phone === undefined ? null : parseNumber(Redacted.value(phone))
    if (method === "code" && number === null) return yield* PhoneInvalid.instance
    yield* awaitActor(id)
    const request: LoginRequest = method === "code" && number !== null
      ? { method: "code", phone: Redacted.make(number) }
      : { method: "qr" }
    return request
  })

  return {
    initiateLogin: Effect.fn("DeviceManager.initiateLogin")(function*(asked) {
      const request = yield* prepare(asked)
      return yield* findNoActor(asked.id, fleet.logins.begin(asked.id, request))
    }),
    followLogin: (asked) =>
      Stream.unwrap(Effect.map(prepare(asked), (request) =>
        Stream.catchIf(
          fleet.logins.follow(asked.id, request),
          isNoActor,
          () => Stream.fromEffect(elsewhere(asked.id))
        ))),
    currentLogin: Effect.fn("DeviceManager.currentLogin")(function*(id) {
      yield* devices.get(id)
      return yield* findNoActor(id, fleet.logins.current(id))
    }),
    cancelLogin: Effect.fn("DeviceManager.cancelLogin")(function*(id) {
      yield* devices.get(id)
      return yield* findNoActor(id, fleet.logins.cancel(id))
    }),
    completeLogin: Effect.fn("DeviceManager.completeLogin")(function*(id) {
      yield* devices.get(id)
      if ((yield* fleet.view(id)) === null) return yield* elsewhere(id)
      const { device, upstream } = yield* syncStatus(id)
      if (!upstream.isConnected || !upstream.isLoggedIn) return yield* LoginIncomplete.of(id, upstream)
      // The actor has no session now, and gets the account with the next one.
      return device.state._tag === "Online"
        ? device
        : yield* DeviceStateConflict.of(id, "record the account of", device.state._tag)
    }),
    answerPasskey: Effect.fn("DeviceManager.answerPasskey")(function*(id, assertion) {
      yield* devices.get(id)
      return yield* findNoActor(id, fleet.logins.answerPasskey(id, assertion))
    }),
    disconnect: Effect.fn("DeviceManager.disconnect")(function*(id) {
      const device = yield* devices.get(id)
      const target = { deviceId: id, upstreamId: device.upstreamId, jid: device.jid }
      const left = yield* useGateway(
        directory,
        device.gateway,
        ({ login }) => login === undefined ? Effect.succeed(false) : Effect.as(login.logOut(target), true)
      )
      if (!left) {
        const message = `Gateway '${device.gateway}' has no way to log an account out`
        return yield* new LoginFailed({ id, reason: "method", message })
      }
      yield* fleet.loggedOut(id)
      const recorded = yield* Effect.timeoutOption(log.flush, flushMax)
      if (recorded._tag === "None") return yield* StorageUnavailable.of("record the logout")
      return yield* devices.get(id)
    })
  }
}
