/**
 * An event: one fact in the log. Pages, SSE, RPC and the AMQP body all give it in exactly this form.
 *
 * There are two types on purpose. `Event` is the decoded, typed form for clients. `LoggedEvent` is the form inside the
 * server: its data stays the JSON text that was committed, so that a thousand readers need no parsing and get the same
 * bytes.
 */
import { Schema } from "effect"
import { DeviceMemory, DeviceState, Failure } from "./DeviceState.ts"
import { DeviceId, EventId, MessageId, Seq, Timestamp } from "./Ids.ts"
import { MessageStatus } from "./Message.ts"

export const Via = Schema.Literals(["live", "webhook", "backfill", "columba"])
export type Via = typeof Via.Type

/**
 * `message.received` (from a contact) and `message.sent` (from this account, written on the phone or sent by Columba).
 */
export const MessageData = Schema.Struct({
  messageId: MessageId,
  waId: Schema.String,
  chat: Schema.String,
  sender: Schema.String,
  fromMe: Schema.Boolean,
  type: Schema.String,
  body: Schema.NullOr(Schema.String),
  /** All other fields of the gateway, unchanged. */
  extra: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})
export type MessageData = typeof MessageData.Type

/** One ack of one message by one participant. A frame that acks several messages becomes several events. */
export const AckData = Schema.Struct({
  /** Set if the target is a message from this account. Null if this account acks a message of somebody else. */
  messageId: Schema.NullOr(MessageId),
  waId: Schema.String,
  chat: Schema.String,
  participant: Schema.NullOr(Schema.String),
  status: MessageStatus,
  extra: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})
export type AckData = typeof AckData.Type

/** A reaction, an edit or a revocation: `waId` is the id of the action itself, `targetWaId` that of the message. */
export const MessageActionData = Schema.Struct({
  waId: Schema.String,
  targetWaId: Schema.String,
  chat: Schema.String,
  sender: Schema.String,
  fromMe: Schema.Boolean,
  /** The emoji (empty: removed), the new text, or null for a revocation. */
  body: Schema.NullOr(Schema.String),
  extra: Schema.optionalKey(Schema.Record(Schema.String, Schema.Json))
})
export type MessageActionData = typeof MessageActionData.Type

/** A transition of the device's actor, with the rule that caused it. */
export const DeviceStateData = Schema.Struct({
  from: Schema.String,
  state: DeviceState,
  /** The stable name of the rule in `DeviceBehaviour`. */
  rule: Schema.String,
  failure: Schema.NullOr(Failure),
  jid: Schema.NullOr(Schema.String),
  phone: Schema.NullOr(Schema.String),
  memory: DeviceMemory
})
export type DeviceStateData = typeof DeviceStateData.Type

/** How much of a rejected frame is kept: enough to see what it was, too little to fill the log with junk. */
export const rejectedRawMax = 64 * 1024

/**
 * A frame that could not be decoded or was not accepted, with the reason. `raw` is cut at `rejectedRawMax`; `rawLength`
 * is the whole.
 */
export const RejectedData = Schema.Struct({
  reason: Schema.Literals([
    "not-json",
    "not-an-event",
    "binary",
    "too-large",
    "wrong-device",
    "conflict",
    "unreadable"
  ]),
  detail: Schema.String,
  raw: Schema.String,
  rawLength: Schema.Int
})
export type RejectedData = typeof RejectedData.Type

/** What is left of an event after an erasure: its place in the log, and nothing of what it said. */
export const ErasedData = Schema.Struct({ erased: Schema.Literal(true) })

const base = {
  seq: Seq,
  id: EventId,
  deviceId: DeviceId,
  /** When it happened, as the gateway claims; the time of arrival if it claims none. Never used for order. */
  occurredAt: Timestamp,
  /** When it was committed, by the database's clock. */
  recordedAt: Timestamp,
  via: Via
}

const event = <const Kind extends string, Data extends Schema.Top>(kind: Kind, data: Data) =>
  Schema.Struct({ ...base, kind: Schema.Literal(kind), data })

const opaque = Schema.Record(Schema.String, Schema.Json)

export const Event = Schema.Union([
  event("message.received", MessageData),
  event("message.sent", MessageData),
  event("message.ack", AckData),
  event("message.reaction", MessageActionData),
  event("message.edited", MessageActionData),
  event("message.revoked", MessageActionData),
  event("device.state", DeviceStateData),
  event("device.login", opaque),
  event("gap.opened", opaque),
  event("gap.closed", opaque),
  event("frame.rejected", RejectedData),
  event("event.erased", ErasedData),
  Schema.Struct({ ...base, kind: Schema.TemplateLiteral(["gateway.", Schema.String]), data: opaque })
]).annotate({ identifier: "Event", description: "One fact in the log; `kind` says which data it has" })
export type Event = typeof Event.Type

export type EventKind = Event["kind"]

/** The kind in a filter: any kind, known or of a gateway. */
export const EventKind = Schema.String.check(Schema.isPattern(/^[a-z0-9_-]{1,64}(\.[a-zA-Z0-9_-]{1,64}){1,8}$/, {
  message: "Expected an event kind like message.received"
}))

/** A committed event. `data` is JSON text. `toWire` makes the wire form of it. */
export interface LoggedEvent {
  readonly seq: number
  readonly id: EventId
  readonly kind: EventKind
  readonly deviceId: DeviceId
  readonly occurredAt: Timestamp
  readonly recordedAt: Timestamp
  readonly via: Via
  readonly data: string
  /** UTF-8 bytes of `data`, counted once, for all bounds in bytes. */
  readonly bytes: number
}

/**
 * The wire JSON of a committed event. Only `occurredAt` can contain text of a gateway, so only it is escaped. Ids,
 * kinds and the recorded time contain no characters that need escaping.
 */
export const toWire = (event: LoggedEvent): string =>
  `{"seq":"${event.seq}","id":"${event.id}","kind":"${event.kind}","deviceId":"${event.deviceId}","occurredAt":` +
  `${JSON.stringify(event.occurredAt)},"recordedAt":"${event.recordedAt}","via":"${event.via}","data":${event.data}}`

/**
 * The fields by which a repeat of an upstream event is recognised, together with device and kind. The id alone is no
 * identity, because the sender chooses it: anyone who knows an id could use it first in another chat, and the genuine
 * message would be taken for a repeat.
 */
export interface EventIdentity {
  readonly chat: string
  /** The sender, or for an ack the participant; empty if there is none. */
  readonly sender: string
  readonly fromMe: boolean
  readonly waId: string
  /** For acks the status: one participant acks one message once per rank. */
  readonly rank: string
}

/** Two spellings of one account, learnt from an event that carried both. */
export interface Alias {
  readonly lid: string
  readonly jid: string
}

/**
 * An event that is not yet in the log. `identity` is null if it cannot be repeated (Columba's own events,
 * rejected frames). `data` must be plain JSON; it is serialised once, when the draft is given to the log.
 */
export interface EventDraft {
  readonly id: EventId
  readonly kind: EventKind
  readonly deviceId: DeviceId
  readonly occurredAt: Timestamp
  readonly via: Via
  readonly data: EventData
  readonly identity: EventIdentity | null
  readonly aliases: ReadonlyArray<Alias>
}

export type EventData = Event["data"]
