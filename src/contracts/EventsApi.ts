/**
 * The log over HTTP. One path, two forms: a JSON page, or with `Accept: text/event-stream` a stream that a dropped
 * client takes up again by `Last-Event-ID`.
 */
import { Schema } from "effect"
import { HttpApiEndpoint, HttpApiGroup, HttpApiSchema, OpenApi } from "effect/http-api"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Event } from "../domain/Event.ts"
import { EventsExpired } from "../domain/MessageErrors.ts"
import { RequiredScope } from "./Authorization.ts"
import { TooManyStreams } from "./Failures.ts"
import { EventsPage, ReadEventsFields } from "./Payloads.ts"

const read = HttpApiEndpoint.get("read", "/events", {
  query: ReadEventsFields,
  headers: Schema.Struct({ "last-event-id": Schema.optionalKey(Schema.String) }),
  success: [EventsPage, HttpApiSchema.StreamSse({ data: Event })],
  error: [EventsExpired, StorageUnavailable, TooManyStreams]
}).annotate(RequiredScope, "read").annotate(
  OpenApi.Description,
  "A page of events after `after`, oldest first; without it, from the oldest kept. With `Accept: text/event-stream`: " +
    "events after `Last-Event-ID` or `after`, or from now on without either, then live. Each has its `seq` as `id`; " +
    "comments are heartbeats, and move the `id` on too."
)

export const EventsApi = HttpApiGroup.make("events").add(read)
