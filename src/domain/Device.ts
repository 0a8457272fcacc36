/**
 * A device: one WhatsApp account slot that Columba looks after. The row is the desired state; `state` is the state
 * that its actor recorded last.
 */
import { Schema } from "effect"
import { DeviceState } from "./DeviceState.ts"
import { DeviceId, GatewayName, Timestamp, UpstreamId } from "./Ids.ts"
import { Pacing } from "./Pacing.ts"

/** Written out, because validators of the published schema do not support the class `Cc`. */
// oxlint-disable-next-line no-control-regex
export const noControlCharacters = Schema.isPattern(new RegExp("^[^\\u0000-\\u001f\\u007f-\\u009f]*$", "u"), {
  message: "Expected no control characters"
})

export const deviceNameMax = 120

/** A name for people: 1 to `deviceNameMax` characters, no control characters. */
export const DeviceName = Schema.String.check(Schema.isBetweenLength(1, deviceNameMax), noControlCharacters).annotate({
  description: "A name for people"
})

export const Device = Schema.Struct({
  id: DeviceId,
  name: DeviceName,
  gateway: GatewayName,
  upstreamId: UpstreamId,
  /** E.164, or null until the gateway has reported it. */
  phone: Schema.NullOr(Schema.String),
  /** The bare account JID, or null until paired. */
  jid: Schema.NullOr(Schema.String),
  state: DeviceState,
  /** Whether the fleet should run the device. */
  active: Schema.Boolean,
  /** How fast the device may send; null for the server's default. */
  pacing: Schema.NullOr(Pacing),
  createdAt: Timestamp,
  updatedAt: Timestamp
}).annotate({ identifier: "Device", description: "A device and the state that was last recorded for it" })
export type Device = typeof Device.Type

/**
 * The desired state of one device, which any process may have written. The two counters turn commands into desired
 * state: the process that increases one need not know where the actor runs, and no command is lost or executed twice.
 */
export interface DesiredDevice {
  readonly id: DeviceId
  readonly gateway: GatewayName
  readonly upstreamId: UpstreamId
  readonly jid: string | null
  readonly active: boolean
  readonly pacing: Pacing | null
  readonly reconnectRequests: number
  readonly releaseRequests: number
}

/** The gateway's answer about a slot. The slot is usable only if both flags are set. */
export const UpstreamStatus = Schema.Struct({
  isConnected: Schema.Boolean,
  isLoggedIn: Schema.Boolean,
  jid: Schema.NullOr(Schema.String)
})
export type UpstreamStatus = typeof UpstreamStatus.Type
