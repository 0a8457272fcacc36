/**
 * The trace of an event, from its arrival over its commit to the confirm of each reader. Its id is derived from the
 * event's id, so every process computes the same trace, a consumer continues it from the header `traceparent`, and an
 * operator looks it up by the event's id. Null if traces are not exported: then they cost nothing.
 */
import { Context } from "effect"
import type { LoggedEvent } from "../domain/Event.ts"
import type { EventId } from "../domain/Ids.ts"

/** Nanoseconds since 1970. */
export interface Interval {
  readonly from: bigint
  readonly to: bigint
}

export interface EventTraces {
  /** Whether the event's trace is exported. The id alone decides. */
  readonly sampled: (id: EventId) => boolean
  /** From the event's arrival at the log to its commit. */
  readonly committed: (event: LoggedEvent, interval: Interval) => void
  /** From the publish to the confirm. A repeat has the same span. */
  readonly published: (event: LoggedEvent, sink: string, interval: Interval) => void
}

export const EventTraces: Context.Reference<EventTraces | null> = Context.Reference<EventTraces | null>(
  "columba/services/EventTraces",
  { defaultValue: () => null }
)

export const deriveTraceId = (id: EventId): string => id.replaceAll("-", "")

/**
 * Span ids are the last half of the event's id, which is random, with a different first digit. The first digit of a
 * UUID's half is one of 8, 9, a and b, so the span of the commit keeps it.
 */
export const deriveCommitSpanId = (id: EventId): string => deriveTraceId(id).slice(16)
export const derivePublishSpanId = (id: EventId): string => `c${deriveTraceId(id).slice(17)}`

/** The W3C header that a consumer continues the trace from. */
export const writeTraceparent = (id: EventId, sampled: boolean): string =>
  `00-${deriveTraceId(id)}-${derivePublishSpanId(id)}-${sampled ? "01" : "00"}`
