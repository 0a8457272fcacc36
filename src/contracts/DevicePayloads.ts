/** Requests about devices and their answers that are not part of the domain. */
import { Schema } from "effect"
import { Device, DeviceName, UpstreamStatus } from "../domain/Device.ts"
import { DeviceState, DeviceStateTag, Failure } from "../domain/DeviceState.ts"
import { GapCounts } from "../domain/Gap.ts"
import { DeviceId, GatewayName, Timestamp, UpstreamId } from "../domain/Ids.ts"
import { Pacing, pacingExpected, parsePacing } from "../domain/Pacing.ts"
import { WebhookState } from "../domain/WebhookState.ts"
import { Cursor, page, PageLimit } from "./Paging.ts"

export const DeviceIdField = { id: DeviceId }

export const CreateDeviceFields = {
  name: DeviceName,
  /** A configured gateway; if omitted, the only one or `default`. */
  gateway: Schema.optionalKey(GatewayName),
  /** The gateway's slot; if omitted, Columba's own id. */
  upstreamId: Schema.optionalKey(UpstreamId)
}

const PacingLine = Schema.String.check(
  Schema.isMaxLength(256),
  Schema.makeFilter((line) => parsePacing(line) !== null, { expected: pacingExpected })
).annotate({ description: "The same as one line: `off`, or like `20/min, 500/day, quiet 21:00-07:00 Asia/Jakarta`" })

/** Omitted fields are unchanged. */
export const EditDeviceFields = {
  name: Schema.optionalKey(DeviceName),
  pacing: Schema.optionalKey(
    Schema.NullOr(Schema.Union([Pacing, PacingLine])).annotate({
      description: "How fast it may send; null for the server's default"
    })
  )
}

/** A chat of a device, named as in events. */
export const ChatFields = {
  id: DeviceId,
  /** The address of the chat, in either spelling of its account. 3-128 characters. */
  chat: Schema.String.check(Schema.isPattern(/^[^\s@]{1,64}@[a-z.]{2,63}$/u, {
    message: "Expected the address of a chat, like 628…@s.whatsapp.net"
  })).annotate({ description: "The address of a chat, as in events" })
}

/** The result of an erasure. */
export const Erasure = Schema.Struct({
  /** Events whose data was erased; their numbers stay. */
  erased: Schema.Int
}).annotate({ identifier: "Erasure" })
export type Erasure = typeof Erasure.Type

export const ListDevicesFields = {
  state: Schema.optionalKey(DeviceStateTag.annotate({ description: "Only devices in this state" })),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}

export const DevicePage = page("DevicePage", Device)
export type DevicePage = typeof DevicePage.Type

/** The device after a status request to the gateway, with the gateway's answer. */
export const DeviceStatus = Schema.Struct({ device: Device, upstream: UpstreamStatus }).annotate({
  identifier: "DeviceStatus"
})
export type DeviceStatus = typeof DeviceStatus.Type

/** A gateway that is down: one incident for all its devices. */
export const GatewayIncident = Schema.Struct({
  gateway: GatewayName,
  since: Timestamp,
  reason: Schema.String,
  nextProbeAt: Timestamp,
  /** How many devices wait for it; null for a key that is limited to some devices. */
  waiting: Schema.NullOr(Schema.Int)
}).annotate({ identifier: "GatewayIncident" })
export type GatewayIncident = typeof GatewayIncident.Type

/** The connection as the device's actor sees it. */
export const HostedConnection = Schema.Struct({
  state: DeviceState,
  attempts: Schema.Int,
  restarts: Schema.Int,
  framesReceived: Schema.Int,
  lastFrameAt: Schema.NullOr(Timestamp),
  /** When a webhook last brought something new of the device. */
  lastWebhookAt: Schema.NullOr(Timestamp),
  lastFailure: Schema.NullOr(Failure),
  /** Null if the gateway cannot be configured to post webhooks. */
  webhook: Schema.NullOr(WebhookState),
  /** The socket is not being read because the log is over its bound. */
  paused: Schema.Boolean
})

export const DeviceConnection = Schema.Struct({
  deviceId: DeviceId,
  /** As last recorded in the database. */
  state: DeviceState,
  active: Schema.Boolean,
  /** The node that runs the device if its actor can be reached; otherwise the answering process. */
  node: Schema.String,
  /** Null if no actor of this device can be reached. */
  hosted: Schema.NullOr(HostedConnection),
  evidence: Schema.Array(Schema.String),
  gaps: GapCounts,
  incident: Schema.NullOr(GatewayIncident),
  sends: Schema.Array(Schema.String).annotate({
    description:
      "What its gateway can send: the contents of a message, `text` to `sticker`, and the actions on messages, " +
      "`reaction`, `edit` and `revoke`. Empty if the gateway cannot be used"
  })
}).annotate({ identifier: "DeviceConnection" })
export type DeviceConnection = typeof DeviceConnection.Type
