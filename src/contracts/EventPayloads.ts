/** Requests for events, and the items of the streams. */
import { Schema } from "effect"
import { Device, DeviceName } from "../domain/Device.ts"
import { DeviceState, Failure } from "../domain/DeviceState.ts"
import { Event, ReadableEvent } from "../domain/Event.ts"
import { DeviceId, Position, Seq, Timestamp } from "../domain/Ids.ts"
import { PageLimit } from "./Paging.ts"

/** There are about a dozen kinds; a filter with more than this bound is a mistake. */
const filterKindsMax = 32
const knownKinds = Event.members.flatMap(({ fields: { kind } }) => "literal" in kind ? [kind.literal] : [])
const gatewayKind = /^gateway\.[a-zA-Z0-9_-]{1,64}(\.[a-zA-Z0-9_-]{1,64}){0,7}$/

/** A kind to filter by. A kind that no event can have is refused: a reader with a misspelt one would wait forever. */
export const EventKindFilter = Schema.String.check(
  Schema.makeFilter(
    (kind) => knownKinds.some((known) => known === kind) || gatewayKind.test(kind),
    { expected: `one of ${knownKinds.join(", ")}, or gateway.<name>` }
  )
)
export const Kinds = Schema.Array(EventKindFilter).check(Schema.isMaxLength(filterKindsMax)).annotate({
  description: "Only events of these kinds"
})

/** Where to begin and which events to keep. */
export const ReadEventsFields = {
  after: Schema.optionalKey(Position),
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only events of this device" })),
  kind: Schema.optionalKey(Kinds),
  limit: Schema.optionalKey(PageLimit)
}
export const EventsPage = Schema.Struct({
  items: Schema.Array(Event),
  /** Send it as `after` to continue; null if the page reached the end of the log. */
  next: Schema.NullOr(Position),
  /** The position up to which the log was searched, matching or not: reading after it misses nothing, now or later. */
  through: Position
}).annotate({ identifier: "EventsPage" })
export type EventsPage = typeof EventsPage.Type

/** The same page for a typed reader, whose version may be older than some events. */
export const ReadableEventsPage = Schema.Struct({ ...EventsPage.fields, items: Schema.Array(ReadableEvent) })
export type ReadableEventsPage = typeof ReadableEventsPage.Type

export const FollowEventsFields = {
  /** Replays the events after this position, then continues live. If omitted: only events from now on. */
  after: Schema.optionalKey(Position),
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only events of this device" })),
  kinds: Schema.optionalKey(Kinds)
}

/** An item of the `Events` stream. A heartbeat means that everything up to `through` has been sent. */
export const EventsItem = Schema.Union([
  /** `position` is the position after this event, to resume from. */
  Schema.TaggedStruct("Event", { event: ReadableEvent, position: Position }),
  Schema.TaggedStruct("Heartbeat", { through: Position })
])
export type EventsItem = typeof EventsItem.Type

/**
 * An item of the `WatchDevices` stream: every device once, `Synced`, then changes of state as they are committed, and
 * new names soon after. A change made during the first part may be sent again after it; applying all items in order
 * results in the right end state.
 */
export const WatchItem = Schema.Union([
  Schema.TaggedStruct("Device", { device: Device }),
  Schema.TaggedStruct("Synced", { through: Position }),
  Schema.TaggedStruct("Changed", {
    seq: Seq,
    deviceId: DeviceId,
    from: Schema.String,
    state: DeviceState,
    rule: Schema.String,
    failure: Schema.NullOr(Failure),
    jid: Schema.NullOr(Schema.String),
    phone: Schema.NullOr(Schema.String),
    at: Timestamp
  }),
  Schema.TaggedStruct("Renamed", { deviceId: DeviceId, name: DeviceName }),
  Schema.TaggedStruct("Heartbeat", { through: Position })
])
export type WatchItem = typeof WatchItem.Type
