/** What the two streams of events have in common: where they begin, and how a committed event becomes a typed one. */
import { Effect } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Event, LoggedEvent } from "../domain/Event.ts"
import { EventsExpired, LogReset, PositionInvalid } from "../domain/MessageErrors.ts"
import type { EventLog, EventPage } from "../services/EventLog.ts"
import { pageLimitDefault } from "../contracts/Payloads.ts"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import { positionAfter, readPosition } from "../domain/Ids.ts"
import type { DeviceId } from "../domain/Ids.ts"

type Log = EventLog["Service"]

/**
 * The size of one write to a client, give or take one event. Small enough that a slow client costs little and takes it
 * well before it counts as stalled, and far below what the RPC client takes as one piece (16 MiB); large enough that a
 * fast one costs few writes.
 */
const pieceBytesMax = 64 * 1024

export const decoded = (event: LoggedEvent): Event => {
  const { deviceId, id, kind, occurredAt, recordedAt, seq, via } = event
  return { seq, id, kind, deviceId, occurredAt, recordedAt, via, data: JSON.parse(event.data) } as Event
}

/** The number to begin after: what was asked for, if it is all still kept, else the newest. */
export const findStart = Effect.fnUntraced(function*(
  log: Log,
  after: number | undefined
): Effect.fn.Return<number, StorageUnavailable | EventsExpired | LogReset> {
  const bounds = yield* log.bounds
  if (after === undefined) return bounds.head
  // Waiting there would be silence for as long as the log takes to grow that far again.
  if (after > bounds.head) return yield* LogReset.of(bounds)
  if (after < bounds.oldest - 1) return yield* EventsExpired.of(after, bounds.oldest)
  return after
})

/** The number that a caller's position stands for; undefined where none was given. */
export const resolvePosition = (position: string | undefined): Effect.Effect<number | undefined, PositionInvalid> => {
  if (position === undefined) return Effect.undefined
  const number = readPosition(position)
  return number === null ? Effect.fail(PositionInvalid.of(position)) : Effect.succeed(number)
}

export interface ReadQuery {
  readonly after?: string | undefined
  readonly device?: DeviceId | undefined
  /** The devices that the caller may see. */
  readonly visible: VisibleDevices
  readonly kind?: ReadonlyArray<string> | undefined
  readonly limit?: number | undefined
}

/** A page, and where to read on: null where the page reached the end of the log. */
export const readPage = Effect.fn("events.readPage")(function*(log: Log, query: ReadQuery) {
  const limit = query.limit ?? pageLimitDefault
  const after = (yield* resolvePosition(query.after)) ?? (yield* log.bounds).oldest - 1
  const page = yield* log.read({ after, limit, device: query.device, visible: query.visible, kinds: query.kind })
  const through = positionAfter(page.through)
  if (page.events.length === limit) return { events: page.events, through, next: through }
  const { head } = yield* log.bounds
  const ended = page.through === after || page.through >= head
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
