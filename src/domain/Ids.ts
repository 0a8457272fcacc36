/** Identifiers. Columba's own ids have a prefix, so that an id in a log or a support ticket shows its kind. */
import { Schema } from "effect"

/** `dev_` and 26 Crockford characters: the id of one device. It never changes. */
export const DeviceId = Schema.String.check(Schema.isPattern(/^dev_[0-9A-Z]{26}$/u, {
  message: "Expected a device id like dev_01K…"
})).pipe(Schema.brand("DeviceId")).annotate({
  description: "The id of a device"
})
export type DeviceId = typeof DeviceId.Type

/**
 * The device of events that concern no device but the fleet. No device has this id, so a key or a reader that is
 * limited to some devices does not see them.
 */
export const fleetDevice = DeviceId.make("dev_00000000000000000000000000")

/** `msg_` and 26 Crockford characters, derived from the message's identity, so a repeat computes the same id. */
export const MessageId = Schema.String.check(Schema.isPattern(/^msg_[0-9A-Z]{26}$/u, {
  message: "Expected a message id like msg_01K…"
})).pipe(Schema.brand("MessageId")).annotate({
  description: "The id of a message"
})
export type MessageId = typeof MessageId.Type

/** A UUIDv7, generated once when the event is first drafted and unchanged by redelivery. */
export const EventId = Schema.String.check(Schema.isUUID()).pipe(Schema.brand("EventId"))
export type EventId = typeof EventId.Type

/** The name of a configured gateway. The gateway of the environment variables is `default`. */
export const GatewayName = Schema.String.check(Schema.isPattern(/^[a-z0-9][a-z0-9_-]{0,62}$/u, {
  message: "Expected a gateway name of lower-case letters, digits, - and _"
})).pipe(Schema.brand("GatewayName")).annotate({
  description: "The name of a gateway"
})
export type GatewayName = typeof GatewayName.Type

/**
 * The gateway's own id for the slot. Gateways do not decode path segments, so only URL-safe characters are
 * accepted; `.` and `..` as a segment would name another path.
 */
export const UpstreamId = Schema.String.check(Schema.isPattern(/^(?!\.{1,2}$)[A-Za-z0-9._~-]{1,128}$/u, {
  message: "Expected 1-128 characters out of A-Z a-z 0-9 . _ ~ -, and neither '.' nor '..'"
})).pipe(Schema.brand("UpstreamId")).annotate({
  description: "The gateway's own id for the slot of a device"
})
export type UpstreamId = typeof UpstreamId.Type

/** RFC 3339 in UTC. Kept as text: the hot path never parses it, the database does. */
export const Timestamp = Schema.String.annotate({ format: "date-time" })
export type Timestamp = typeof Timestamp.Type

const timePattern = /^\d{4}-\d\d-(\d\d)T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/

/**
 * Parses a caller's time to milliseconds since 1970. Null unless it is a calendar date with a time of day and its zone
 * (RFC 3339; the seconds are optional). Without a zone the server's would apply, and `Date.parse` by itself accepts
 * `05/12/2026`, `5` and the 30th of February.
 */
export const parseTimestamp = (text: string): number | null => {
  const [, day] = timePattern.exec(text) ?? []
  const at = day === undefined ? Number.NaN : Date.parse(text)
  const isOfCalendar = new Date(Date.parse(`${text.slice(0, 10)}T00:00:00Z`)).getUTCDate() === Number(day)
  return Number.isNaN(at) || !isOfCalendar ? null : at
}

/**
 * The number of an event in the log: 1, 2, 3 … without holes, in commit order over all devices and processes. It is a
 * decimal string in JSON, because some readers lose the precision of large numbers.
 */
export const Seq = Schema.FiniteFromString.check(Schema.isInt(), Schema.isGreaterThanOrEqualTo(0))
export type Seq = typeof Seq.Type

/**
 * A position between two events of the log, which a caller receives and sends back. It is opaque text, so that its
 * form may change. Every answer from which a caller can resume has one; `beginning` is the position before the first
 * event. It identifies the event before it, so that a position from a log that has been replaced since is recognised.
 */
export const Position = Schema.String.check(Schema.isBetweenLength(1, 128)).pipe(Schema.brand("Position")).annotate({
  description: "A place in the log to resume from: `0` for the beginning, or a position from an earlier answer"
})
export type Position = typeof Position.Type

export const beginning = Position.make("0")

/** The last event before a position, decoded from the position. */
export interface Place {
  readonly seq: number
  /** The end of the event's id; null if the position has only the number, which is then not compared. */
  readonly mark: string | null
}

/** Characters of the UUIDv7's random part: one event in four billion is taken for another. */
const markLength = 8

/** The log has one partition, so a position is the number of the event before it and the end of that event's id. */
export const positionAfter = (seq: number, id: EventId | null = null): Position =>
  Position.make(id === null ? String(seq) : `${seq}-${id.slice(-markLength)}`)

/** Null if the text is no position. A plain number is one, because people read event numbers and type them. */
export const readPosition = (position: string): Place | null => {
  const match = /^(?:0|([1-9]\d{0,14})(?:-([0-9a-f]{8}))?)$/.exec(position)
  return match === null ? null : { seq: Number(match[1] ?? 0), mark: match[2] ?? null }
}

/** Whether the event can be the one that the position identifies. */
export const isMarked = (id: EventId, mark: string | null): boolean => mark === null || id.endsWith(mark)
