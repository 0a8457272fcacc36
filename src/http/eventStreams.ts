/** The common parts of the two streams of events: where they begin, and how a committed event becomes a typed one. */
import { Effect, Schema } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Event, UnreadableEvent } from "../domain/Event.ts"
import type { LoggedEvent, ReadableEvent } from "../domain/Event.ts"
import { PositionInvalid } from "../domain/MessageErrors.ts"
import type { EventsExpired, LogReset } from "../domain/MessageErrors.ts"
import type { EventLog, EventPage, ReadFrom } from "../services/EventLog.ts"
import { pageLimitDefault } from "../contracts/Paging.ts"
import type { CurrentCaller, VisibleDevices } from "../contracts/Authorization.ts"
import { auditKind } from "../domain/EventKinds.ts"
import { Position, positionAfter, readPosition } from "../domain/Ids.ts"
import type { DeviceId } from "../domain/Ids.ts"

type Log = EventLog["Service"]

/**
 * The size of one write to a client, give or take one event. Small enough that a slow client costs little and reads it
 * well before it counts as stalled, and far below the maximum message of the RPC client (16 MiB); large enough that a
 * fast one costs few writes.
 */
const pieceBytesMax = 64 * 1024

/** An event that does not fit its schema would end the stream: another version or a person may have written the row. */
export const decoded = (event: LoggedEvent): ReadableEvent => {
  const { deviceId, id, kind, occurredAt, recordedAt, seq, via } = event
  const candidate = { seq, id, kind, deviceId, occurredAt, recordedAt, via, data: JSON.parse(event.data) }
  return isEvent(candidate) ? candidate : decodeUnreadable({ ...candidate, seq: String(seq) })
}

const isEvent = Schema.is(Event)
const decodeUnreadable = Schema.decodeSync(UnreadableEvent)

/** Where a stream begins: after the requested position, if all later events are still stored, otherwise at the head. */
export const findStart = Effect.fnUntraced(function*(
  log: Log,
  asked: string | undefined
): Effect.fn.Return<
  ReadFrom & { readonly position: Position },
  PositionInvalid | StorageUnavailable | EventsExpired | LogReset
> {
  if (asked === undefined) {
    const { head, headId } = yield* log.bounds
    return toStart(positionAfter(head, headId))
  }
  const start = yield* resolvePosition(asked)
  yield* log.locate(start)
  return start
})

const toStart = (position: Position, place = readPosition(position)!) => ({
  after: place.seq,
  mark: place.mark,
  position
})

const resolvePosition = (position: string) => {
  const place = readPosition(position)
  return place === null
    ? Effect.fail(PositionInvalid.of(position))
    : Effect.succeed(toStart(Position.make(position), place))
}

/** The audit trail is only for callers who may change keys. */
export const hiddenFrom = ({ scopes }: CurrentCaller["Service"]): ReadonlyArray<string> =>
  scopes.has("admin") ? [] : [auditKind]

export interface ReadQuery {
  readonly after?: string | undefined
  readonly device?: DeviceId | undefined
  /** The devices that the caller may see. */
  readonly visible: VisibleDevices
  /** The kinds that the caller may not see. */
  readonly hidden: ReadonlyArray<string>
  readonly kind?: ReadonlyArray<string> | undefined
  readonly limit?: number | undefined
}

/** A page, and where to continue: null if the page reached the end of the log. */
export const readPage = Effect.fn("events.readPage")(function*(log: Log, query: ReadQuery) {
  const limit = query.limit ?? pageLimitDefault
  const start = query.after === undefined
    ? toStart(positionAfter((yield* log.bounds).oldest - 1))
    : yield* resolvePosition(query.after)
  const { device, hidden, kind: kinds, visible } = query
  const page = yield* log.read({ after: start.after, mark: start.mark, limit, device, visible, kinds, hidden })
  // The requested position identifies more than the number of an event that is no longer stored.
  const through = page.through === start.after ? start.position : positionAfter(page.through, page.throughId)
  if (page.events.length === limit) return { events: page.events, through, next: through }
  const { head } = yield* log.bounds
  const ended = page.through === start.after || page.through >= head
  return { events: page.events, through, next: ended ? null : through }
})

/** The events of a page in runs that are written one at a time. */
export const pieces = (page: EventPage): ReadonlyArray<ReadonlyArray<LoggedEvent>> => {
  const runs: Array<Array<LoggedEvent>> = []
  let size = Infinity
  for (const event of page.events) {
    if (size > pieceBytesMax) {
      runs.push([])
      size = 0
    }
    runs.at(-1)!.push(event)
    size += event.bytes
  }
  return runs
}
