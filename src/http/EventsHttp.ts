/**
 * The log over HTTP: a page, or a stream of server-sent events. Both write the committed JSON as it is; nothing is
 * parsed on the way out.
 */
import { Effect, Schema, Stream } from "effect"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { CurrentCaller } from "../contracts/Authorization.ts"
import { toWire } from "../domain/Event.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import { positionAfter } from "../domain/Ids.ts"
import { LogReset } from "../domain/MessageErrors.ts"
import { EventLog } from "../services/EventLog.ts"
import type { EventPage } from "../services/EventLog.ts"
import { Draining } from "./Draining.ts"
import { OpenStreams } from "./OpenStreams.ts"
import { findStart, pieces, readPage, resolvePosition } from "./eventStreams.ts"
import type { ReadQuery } from "./eventStreams.ts"

/** What a browser waits before it reconnects. */
const retryMilliseconds = 2000

export const EventsHttp = HttpApiBuilder.group(
  Api,
  "events",
  Effect.fnUntraced(function*(handlers) {
    const log = yield* EventLog
    const draining = yield* Draining
    const { admit } = yield* OpenStreams

    const page = Effect.fnUntraced(function*(query: ReadQuery) {
      const { events, next, through } = yield* readPage(log, query)
      return HttpServerResponse.text(
        `{"items":[${events.map(toWire).join(",")}],"next":${JSON.stringify(next)},"through":${
          JSON.stringify(through)
        }}`,
        { contentType: "application/json" }
      )
    })

    const stream = Effect.fnUntraced(function*(query: ReadQuery) {
      // The request's scope closes when all of its answer is sent, or its client is gone.
      const { budget, guard } = yield* admit
      const after = yield* findStart(log, yield* resolvePosition(query.after))
      const body = log.follow({ after, device: query.device, visible: query.visible, kinds: query.kind, budget }).pipe(
        Stream.flatMap((page) => Stream.rechunk(Stream.fromIterable(rendered(page)), 1)),
        // The status is long sent. A client that reconnects gets any other failure as the answer to that request.
        Stream.catch((error) => error._tag === "LogReset" ? Stream.make(renderReset(error)) : Stream.empty),
        Stream.interruptWhen(draining.begun)
      )
      return HttpServerResponse.stream(
        guard(
          Stream.make(`retry: ${retryMilliseconds}\n${heartbeat(after)}`).pipe(
            Stream.concat(body),
            Stream.encodeText
          )
        ),
        { contentType: "text/event-stream", headers: { "cache-control": "no-store", "x-accel-buffering": "no" } }
      )
    })

    return handlers.handle(
      "page",
      Effect.fnUntraced(function*({ headers, query, request }) {
        const { devices: visible } = yield* CurrentCaller
        if (!acceptsStream(request.headers["accept"])) return yield* page({ ...query, visible })
        const last = headers["last-event-id"]
        return yield* stream(
          last === undefined || last === "" ? { ...query, visible } : { ...query, visible, after: last }
        )
      })
    )
  })
)

const acceptsStream = (accept: string | undefined): boolean =>
  accept?.toLowerCase().includes("text/event-stream") === true

/** A heartbeat moves the client's `Last-Event-ID` on too, so that a filter with few hits does not read far back. */
const rendered = (page: EventPage): ReadonlyArray<string> =>
  page.events.length === 0
    ? [heartbeat(page.through)]
    : pieces(page).map((run) => run.map(block).join(""))

/** A comment, which no reader sees as an event, and the position to resume from. */
const heartbeat = (through: number): string => `id: ${positionAfter(through)}\n: ${positionAfter(through)}\n\n`

/** With the position to resume from as its id too, so that a browser that reconnects by itself resumes there. */
const renderReset = (reset: LogReset): string =>
  `event: ${reset._tag}\nid: ${reset.head}\ndata: ${JSON.stringify(encodeReset(reset))}\n\n`

const encodeReset = Schema.encodeSync(LogReset)

const block = (event: LoggedEvent): string => `id: ${positionAfter(event.seq)}\ndata: ${oneLine(toWire(event))}\n\n`

/** Line breaks between JSON tokens would end the field; within strings they are escaped already. */
const oneLine = (json: string): string => /[\r\n]/.test(json) ? json.replace(/[\r\n]+/g, " ") : json
