/**
 * The RPCs: one per operation of the table, with the same request and answer as over HTTP, and the streams that HTTP
 * cannot offer as well. `columba-client` wraps this group for other programs.
 */
import { Array, Schema } from "effect"
import { Rpc, RpcGroup } from "effect/rpc"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { LoginStep } from "../domain/Login.ts"
import { EventsExpired, LogReset, PositionInvalid } from "../domain/MessageErrors.ts"
import { RequiredReach, RequiredScope, RpcAuthorization } from "./Authorization.ts"
import { TooManyStreams } from "./Failures.ts"
import { FollowLoginFields, loginErrors } from "./LoginOperations.ts"
import { operations } from "./Operations.ts"
import { EventsItem, FollowEventsFields, WatchItem } from "./EventPayloads.ts"

const StreamErrors = Schema.Union([EventsExpired, LogReset, StorageUnavailable, TooManyStreams])
const EventsErrors = Schema.Union([PositionInvalid, ...StreamErrors.members])

const streams = RpcGroup.make(
  /** Every device, then its changes. Ends only with a failure or with its reader. */
  Rpc.make("WatchDevices", { success: WatchItem, error: StreamErrors, stream: true }),
  /**
   * Replay from the log, then live, without missing or repeating an event at the switch. Ends only with a failure or
   * with its reader.
   */
  Rpc.make("Events", { payload: FollowEventsFields, success: EventsItem, error: EventsErrors, stream: true })
).annotateRpcs(RequiredScope, "read").annotateRpcs(RequiredReach, "filter")

/** The steps of a login, from the current one to the last one. If the last caller leaves, the login is cancelled. */
const login = RpcGroup.make(
  Rpc.make("Login", {
    payload: FollowLoginFields,
    success: LoginStep,
    error: Schema.Union([...loginErrors, TooManyStreams]),
    stream: true
  })
).annotateRpcs(RequiredScope, "manage").annotateRpcs(RequiredReach, "device")

export const ColumbaRpcs = RpcGroup.make(...Array.map(operations, ({ rpc }) => rpc))
  .merge(streams)
  .merge(login)
  .middleware(RpcAuthorization)

/** The path of the RPCs on the server. Over HTTP it works with and without a trailing slash. */
export const rpcHttpPath = "/rpc"
export const rpcWebSocketPath = "/rpc/ws"
