/**
 * The requests of a node to the node that holds a device: the calls of `DeviceFleet` that need the device's actor. All
 * calls are volatile; anything that must not be lost is in the database before the call.
 */
import { Schema } from "effect"
import { Entity } from "effect/cluster"
import { Rpc } from "effect/rpc"
import { GatewayIncident, HostedConnection } from "../../contracts/DevicePayloads.ts"
import { UpstreamStatus } from "../../domain/Device.ts"
import { DeviceStateConflict, DeviceUnreachable, GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { EventDraft } from "../../domain/Event.ts"
import { LoginFailed, LoginInProgress, LoginNotFound, LoginStep, TooManyLogins } from "../../domain/Login.ts"
import type { SessionEvent } from "../../services/GatewayParts.ts"

const ActorView = Schema.Struct({
  ...HostedConnection.fields,
  node: Schema.String,
  incident: Schema.NullOr(Schema.Struct({ ...GatewayIncident.fields, waiting: Schema.Int }))
})

const LoginRequest = Schema.Union([
  Schema.Struct({ method: Schema.Literal("qr") }),
  Schema.Struct({ method: Schema.Literal("code"), phone: Schema.RedactedFromValue(Schema.String) })
])

const NoActor = Schema.TaggedStruct("NoActor", {})

const beginErrors = [
  NoActor,
  DeviceUnreachable,
  DeviceStateConflict,
  LoginFailed,
  LoginInProgress,
  TooManyLogins
] as const

const currentErrors = [NoActor, DeviceUnreachable, LoginNotFound] as const

/** Only nodes send this, and a decoder has produced it: it is valid JSON and is not checked again. */
export interface WebhookEvents {
  readonly events: ReadonlyArray<SessionEvent>
  readonly repeats: ReadonlyArray<EventDraft>
}

export const DeviceEntity = Entity.make("Device", [
  /** Makes the node that owns the device's shard hold the device. */
  Rpc.make("Hold"),
  Rpc.make("View", { success: Schema.NullOr(ActorView) }),
  Rpc.make("ReportStatus", {
    payload: { status: UpstreamStatus },
    success: Schema.Boolean,
    error: DeviceUnreachable
  }),
  Rpc.make("ReportSilence", { payload: { detail: Schema.String }, error: DeviceUnreachable }),
  Rpc.make("LoggedOut", { error: DeviceUnreachable }),
  Rpc.make("ReceiveWebhook", { payload: { json: Schema.String } }),
  Rpc.make("FollowLogin", {
    payload: { request: LoginRequest },
    success: LoginStep,
    error: Schema.Union(beginErrors),
    stream: true
  }),
  Rpc.make("BeginLogin", { payload: { request: LoginRequest }, success: LoginStep, error: Schema.Union(beginErrors) }),
  Rpc.make("CurrentLogin", { success: LoginStep, error: Schema.Union(currentErrors) }),
  Rpc.make("CancelLogin", { success: LoginStep, error: Schema.Union(currentErrors) }),
  Rpc.make("AnswerPasskey", {
    payload: { assertion: Schema.NullOr(Schema.RedactedFromValue(Schema.Json)) },
    success: LoginStep,
    error: Schema.Union([...currentErrors, LoginFailed, GatewayUnavailable])
  })
])
