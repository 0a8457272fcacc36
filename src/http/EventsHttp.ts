/**
 * The log over HTTP: a page, or a stream of server-sent events. Both write the committed JSON as it is; nothing is
 * parsed on the way out.
 */
import { Duration, Effect, Schema, Stream } from "effect"
import { Sse } from "effect/encoding"
import { HttpServerResponse } from "effect/http"
import { HttpApiBuilder } from "effect/http-api"
import { Api } from "../contracts/Api.ts"
import { CurrentCaller } from "../contracts/Authorization.ts"
import { toWire } from "../domain/Event.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import { positionAfter } from "../domain/Ids.ts"
import type { Position } from "../domain/Ids.ts"
import { LogReset } from "../domain/MessageErrors.ts"
import { EventLog } from "../services/EventLog.ts"
import type { EventPage } from "../services/EventLog.ts"
import { Draining } from "./Draining.ts"
import { dropConnection } from "./dropConnection.ts"
import { OpenStreams } from "./OpenStreams.ts"
import { findStart, hiddenFrom, pieces, readPage } from "./eventStreams.ts"
import type { ReadQuery } from "./eventStreams.ts"

/** The wait of a browser before it reconnects. */
const retryDelay = Duration.seconds(2)

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

    const stream = Effect.fnUntraced(function*(query: ReadQuery, drop: () => void) {
      // The request's scope closes when all of its answer is sent, or its client is gone.
      const { budget, guard } = yield* admit
      const { after, mark, position } = yield* findStart(log, query.after)
      const { device, hidden, kind: kinds, visible } = query
      const body = log.follow({ after, mark, device, visible, kinds, hidden, budget }).pipe(
        Stream.flatMap((page) => Stream.fromIterable(rendered(page), { chunkSize: 1 })),
        // The status has been sent already. A client that reconnects gets any other failure as the answer to that
        // request.
        Stream.catch((error) => error._tag === "LogReset" ? Stream.make(renderReset(error)) : Stream.empty),
        Stream.interruptWhen(draining.begun)
      )
      return HttpServerResponse.stream(
        guard(
          Stream.make(
            Sse.encoder.write(new Sse.Retry({ duration: retryDelay, lastEventId: undefined })) + heartbeat(position)
          ).pipe(
            Stream.concat(body),
            Stream.encodeText
          ),
          drop
        ),
        { contentType: "text/event-stream", headers: { "cache-control": "no-store", "x-accel-buffering": "no" } }
      )
    })

    return handlers.handle(
      "page",
      Effect.fnUntraced(function*({ headers, query, request }) {
        const caller = yield* CurrentCaller
        const asked = { ...query, visible: caller.devices, hidden: hiddenFrom(caller) }
        if (!acceptsStream(request.headers["accept"])) return yield* page(asked)
        const last = headers["last-event-id"]
        return yield* stream(
          last === undefined || last === "" ? asked : { ...asked, after: last },
          dropConnection(request)
        )
      })
    )
  })
)

const acceptsStream = (accept: string | undefined): boolean =>
  accept?.toLowerCase().includes("text/event-stream") === true

/**
 * The pieces of a page, each made when it is needed: data that a client does not read is in memory once, as events,
 * and not as text too. A heartbeat moves the client's `Last-Event-ID` forward too, so that a filter with few matches
 * is not read again from far back.
 */
function* rendered(page: EventPage): Generator<string> {
  if (page.events.length === 0) return yield heartbeat(positionAfter(page.through, page.throughId))
  for (const run of pieces(page)) yield run.map(block).join("")
}

/** A comment, which no reader treats as an event, and the position to resume from. */
const heartbeat = (through: Position): string => `id: ${through}\n: ${through}\n\n`

/** With the position to resume from as its id too, so that a browser that reconnects automatically resumes there. */
const renderReset = (reset: LogReset): string =>
  Sse.encoder.write({ _tag: "Event", event: reset._tag, id: reset.head, data: JSON.stringify(encodeReset(reset)) })

const encodeReset = Schema.encodeSync(LogReset)

const block = (event: LoggedEvent): string =>
  Sse.encoder.write({ _tag: "Event", event: "message", id: positionAfter(event.seq, event.id), data: toWire(event) })
