/**
 * The operations on the log. Over HTTP one path has two forms: a JSON page, or with `Accept: text/event-stream` a
 * stream that a client resumes by `Last-Event-ID` after a lost connection. The page is an operation like any other;
 * its endpoint is declared here again, together with the stream.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiSchema } from "effect/http-api"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Event } from "../domain/Event.ts"
import { EventsExpired, LogReset, PositionInvalid } from "../domain/MessageErrors.ts"
import { event, position } from "./examples.ts"
import { TooManyStreams } from "./Failures.ts"
import * as Operation from "./Operation.ts"
import { EventsPage, ReadableEventsPage, ReadEventsFields } from "./EventPayloads.ts"

const pageErrors = [PositionInvalid, EventsExpired, LogReset, StorageUnavailable] as const

const page = Operation.get("Events", "Page", "/events", {
  scope: "read",
  reach: "filter",
  summary: "Read or follow the log",
  description: "A page of events after `after`, oldest first; without `after`, from the oldest event that is kept. " +
    "A page with `kind` looks at 50,000 events at most, and may return few or none of them and a `next`. " +
    "With `Accept: text/event-stream` a stream instead: the events after `Last-Event-ID` or `after`, or without both " +
    "those from now on, and then new ones as they are committed. Each event has its position as `id`. Comments are " +
    "heartbeats, and move the `id` forward too. When an older copy of the database was restored, the stream ends with " +
    "an event named `LogReset`. A position whose event is no longer in the log is refused with `LogReset` as well: " +
    "resume after the newest earlier one that is accepted, or after its `head` for new events only.",
  query: ReadEventsFields,
  success: ReadableEventsPage,
  example: { items: [event], next: position, through: position },
  errors: pageErrors
})

export const eventOperations = [page] as const

export const eventsEndpoint = HttpApiEndpoint.get("page", page.endpoint.path, {
  query: ReadEventsFields,
  headers: Schema.Struct({
    "last-event-id": Schema.optionalKey(
      Schema.String.annotate({
        description: "For a stream: the position to resume after; takes precedence over `after`"
      })
    )
  }),
  success: [EventsPage, HttpApiSchema.StreamSse({ data: Event })],
  error: [...pageErrors, TooManyStreams]
}).annotateMerge(page.endpoint.annotations)
