/** The logins of the devices whose actors live here: one at a time for each device, which any number of callers share. */
import { Effect, Stream } from "effect"
import type { Redacted, Schema } from "effect"
import type { DeviceStateConflict, DeviceUnreachable, GatewayUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { LoginFailed, LoginInProgress, LoginNotFound, LoginStep, TooManyLogins } from "../domain/Login.ts"
import type { LoginRequest } from "./GatewayParts.ts"

/** No actor of the device is in reach. */
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
  /** Begins a login or joins the one under way: its current step first, to the last one. Whoever reads is a caller. */
  readonly follow: (id: DeviceId, request: LoginRequest) => Stream.Stream<LoginStep, LoginRefusal>
  /**
   * The same for callers that come back: with `pollLease`, such a caller counts until then. Returns the first step that
   * the gateway's answer leads to, or `Starting` where that takes long.
   */
  readonly begin: (id: DeviceId, request: LoginRequest) => Effect.Effect<LoginStep, LoginRefusal>
  /** The step of the login that is under way, or has ended of late. Who asks counts as a caller for as long as that. */
  readonly current: (id: DeviceId) => Effect.Effect<LoginStep, NoActor | DeviceUnreachable | LoginNotFound>
  /** Ends the login that is under way for all its callers. Gives the last step; where none is under way, nothing happens. */
  readonly cancel: (id: DeviceId) => Effect.Effect<LoginStep, NoActor | DeviceUnreachable | LoginNotFound>
  /** Answers the challenge of a passkey, or without an assertion confirms that the codes are the same. */
  readonly answerPasskey: (
    id: DeviceId,
    assertion: Redacted.Redacted<Schema.Json> | null
  ) => Effect.Effect<LoginStep, NoActor | DeviceUnreachable | LoginNotFound | LoginFailed | GatewayUnavailable>
}

/** Where no actors live. */
export const noLogins: FleetLogins = {
  follow: () => Stream.fail(noActor),
  begin: () => Effect.fail(noActor),
  current: () => Effect.fail(noActor),
  cancel: () => Effect.fail(noActor),
  answerPasskey: () => Effect.fail(noActor)
}
