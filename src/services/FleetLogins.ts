/** The logins of the devices whose actors live here: one at a time for each device, which any number of callers share. */
import { Effect, Stream } from "effect"
import type { Redacted, Schema } from "effect"
import type { DeviceStateConflict, DeviceUnreachable, GatewayUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { LoginFailed, LoginInProgress, LoginNotFound, LoginStep, TooManyLogins } from "../domain/Login.ts"
import type { LoginRequest } from "./GatewayParts.ts"

/** No actor of the device can be reached. */
export interface NoActor {
  readonly _tag: "NoActor"
}
export const noActor: NoActor = { _tag: "NoActor" }

export const isNoActor = (error: unknown): error is NoActor =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "NoActor"

/** Why a login cannot begin. */
export type LoginRefusal =
  | NoActor
  | DeviceUnreachable
  | DeviceStateConflict
  | LoginFailed
  | LoginInProgress
  | TooManyLogins

export interface FleetLogins {
  /**
   * Begins a login or joins the one under way: the steps from the current one to the last one. Every reader is a
   * caller.
   */
  readonly follow: (id: DeviceId, request: LoginRequest) => Stream.Stream<LoginStep, LoginRefusal>
  /**
   * The same for callers that poll: such a caller counts for `pollLease` after each request. Returns the first step
   * that the gateway's answer leads to, or `Starting` if that takes long.
   */
  readonly begin: (id: DeviceId, request: LoginRequest) => Effect.Effect<LoginStep, LoginRefusal>
  /** The step of the login that is under way, or has ended recently. A caller of this counts for the same time. */
  readonly current: (id: DeviceId) => Effect.Effect<LoginStep, NoActor | DeviceUnreachable | LoginNotFound>
  /**
   * Ends the login that is under way for all its callers. Returns the last step; if none is under way, nothing
   * happens.
   */
  readonly cancel: (id: DeviceId) => Effect.Effect<LoginStep, NoActor | DeviceUnreachable | LoginNotFound>
  /** Answers the challenge of a passkey, or without an assertion confirms that the codes are the same. */
  readonly answerPasskey: (
    id: DeviceId,
    assertion: Redacted.Redacted<Schema.Json> | null
  ) => Effect.Effect<LoginStep, NoActor | DeviceUnreachable | LoginNotFound | LoginFailed | GatewayUnavailable>
}

/** For processes that host no actors. */
export const noLogins: FleetLogins = {
  follow: () => Stream.fail(noActor),
  begin: () => Effect.fail(noActor),
  current: () => Effect.fail(noActor),
  cancel: () => Effect.fail(noActor),
  answerPasskey: () => Effect.fail(noActor)
}
