/**
 * An event: one fact in the log. Pages, SSE, RPC and the AMQP body all carry it in exactly this form. `EventKinds`
 * lists the kinds.
 * There are two forms of a committed event on purpose. `Event` is the decoded, typed form for clients. `LoggedEvent`
 * is the form inside the server: its data stays the JSON text that was committed, so that a thousand readers need no
 * parsing and get the same bytes.
 */
import { Schema, SchemaTransformation } from "effect"
import { eventKinds } from "./EventKinds.ts"
import { Seq, Timestamp } from "./Ids.ts"
import type { DeviceId, EventId } from "./Ids.ts"
import type { Via } from "./Via.ts"

export const Event = Schema.Union(eventKinds.map(({ event }) => event)).annotate({
  identifier: "Event",
  description: "One fact in the log; `kind` determines the form of `data`"
})
export type Event = typeof Event.Type

export type EventKind = Event["kind"]

const StoredEvent = Schema.Record(Schema.String, Schema.Json)

/** The kind under which a reader sees an event that its version cannot read. The log holds none of this kind. */
export const unreadableKind = "event.unreadable"

/**
 * An event that this version cannot read: its kind was added by a later version, or its data has another form. It is
 * sent as it is stored, and a typed reader sees that it exists: `data.stored` is the whole event.
 */
export const UnreadableEvent = StoredEvent.pipe(Schema.decodeTo(
  Schema.Struct({
    seq: Schema.toType(Seq),
    // As stored, because any part of the event may be unreadable.
    id: Schema.String,
    deviceId: Schema.String,
    occurredAt: Timestamp,
    recordedAt: Timestamp,
    via: Schema.String,
    kind: Schema.Literal(unreadableKind),
    data: Schema.Struct({ stored: StoredEvent })
  }),
  SchemaTransformation.transform({
    decode: (stored) => {
      const { deviceId, id, occurredAt, recordedAt, seq, via } = stored
      const said = { id, deviceId, occurredAt, recordedAt, via }
      return {
        ...Object.fromEntries(Object.entries(said).map(([name, value]) => [name, String(value)])) as {
          readonly [Name in keyof typeof said]: string
        },
        seq: Number(seq),
        kind: unreadableKind,
        data: { stored }
      } as const
    },
    encode: ({ data }) => data.stored
  })
))
export type UnreadableEvent = typeof UnreadableEvent.Type

/** An event as a typed reader of the log gets it. */
export const ReadableEvent = Schema.Union([...Event.members, UnreadableEvent])
export type ReadableEvent = typeof ReadableEvent.Type

type Content<Of extends Event> = Of extends Event ? Pick<Of, "kind" | "data"> : never

/** A kind and its data. A comparison of `kind` narrows `data`. */
export type EventContent = Content<Event>

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
 * The fields that identify a repeat of an upstream event, together with device and kind. The id alone is not enough,
 * because the sender chooses it: anyone who has an id could use it first in another chat, and the genuine message
 * would be taken for a repeat.
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

/** Two spellings of one account, from an event that carried both. */
export interface Alias {
  readonly lid: string
  readonly jid: string
}

interface DraftFields {
  readonly id: EventId
  readonly deviceId: DeviceId
  readonly occurredAt: Timestamp
  readonly via: Via
  readonly identity: EventIdentity | null
  readonly aliases: ReadonlyArray<Alias>
}

/**
 * An event that is not yet in the log. `identity` is null if it cannot be repeated (Columba's own events, rejected
 * frames). `data` must be plain JSON; it is serialised once, when the draft is appended to the log.
 */
export type EventDraft = EventContent & DraftFields
