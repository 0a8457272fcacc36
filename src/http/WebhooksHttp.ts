/**
 * `POST /webhooks/{gateway}`: what gateways post to us. It needs no API key and passes none of the checks for browsers:
 * the signature is what counts. The body is read whole, because the signature is over its bytes, and within bounds of its
 * own: strangers can send to it.
 */
import { Clock, Duration, Effect, Metric, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Metrics from "../services/Metrics.ts"
import { monotonicMillis } from "../services/monotonic.ts"
import { WebhookIngest } from "../services/WebhookIngest.ts"
import { webhookBodyMax, webhookOutcomes } from "../services/webhookOutcomes.ts"
import type { WebhookOutcome } from "../services/webhookOutcomes.ts"
import { refused } from "./errorResponses.ts"

/** Bodies of a few KiB from a gateway in another country take less; the rest of the time is for the commit. */
const bodyTimeout = Duration.seconds(5)

/** Webhooks without an answer. More than a gateway of ten thousand devices has on its way while a commit takes 100 ms. */
const inFlightMax = 4096

/** Bytes of bodies that wait for their answer: what a process can spare, and what the log holds at its bound. */
const bytesMax = 64 * 1024 * 1024

/** The paths that are for webhooks, whatever the gateway. The router takes several slashes for one. */
export const isWebhookPath = (path: string): boolean => /^\/+webhooks\//.test(path)

type Request = HttpServerRequest.HttpServerRequest

/** What webhooks without an answer hold of this process. */
class InFlight {
  count = 0
  bytes = 0

  enter(): boolean {
    if (this.count >= inFlightMax) return false
    this.count++
    return true
  }

  leave(bytes: number): void {
    this.count--
    this.bytes -= bytes
  }

  hold(bytes: number): boolean {
    this.bytes += bytes
    return this.bytes <= bytesMax
  }
}

/** A body on its way in. */
class Body {
  readonly #inFlight: InFlight
  readonly #chunks: Array<Uint8Array> = []
  size = 0

  constructor(inFlight: InFlight) {
    this.#inFlight = inFlight
  }

  /** Null: it was taken. */
  add(chunk: Uint8Array): WebhookOutcome | null {
    this.size += chunk.length
    const room = this.#inFlight.hold(chunk.length)
    if (this.size > webhookBodyMax) return "too-large"
    if (!room) return "busy"
    this.#chunks.push(chunk)
    return null
  }

  join(): Uint8Array {
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
  }
}

/** Fills the body. Fails with what is to be answered. */
const readBody = (request: Request, body: Body): Effect.Effect<void, WebhookOutcome> =>
  request.stream.pipe(
    Stream.mapError((): WebhookOutcome => "broken"),
    Stream.runForEach((chunk) => {
      const refusal = body.add(chunk)
      return refusal === null ? Effect.void : Effect.fail(refusal)
    }),
    Effect.timeoutOrElse({ duration: bodyTimeout, orElse: () => Effect.fail<WebhookOutcome>("too-slow") })
  )

/** What the headers alone decide. A proxy that compressed the body has changed what was signed. */
const refuseUnread = ({ headers }: Request): WebhookOutcome | null => {
  const encoding = headers["content-encoding"]?.trim().toLowerCase() ?? ""
  if (encoding !== "" && encoding !== "identity") return "encoded"
  return Number(headers["content-length"] ?? 0) > webhookBodyMax ? "too-large" : null
}

const readDevice = (request: Request): string | null => {
  const query = request.url.indexOf("?")
  return query === -1 ? null : new URLSearchParams(request.url.slice(query)).get("device")
}

const accepted = HttpServerResponse.jsonUnsafe({ status: "accepted" })
const repeated = HttpServerResponse.jsonUnsafe({ status: "repeated" })

const pascalCase = (outcome: string): string =>
  outcome.split("-").map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join("")

const answer = (outcome: WebhookOutcome): HttpServerResponse.HttpServerResponse => {
  const { message, status } = webhookOutcomes[outcome]
  if (message === null) return outcome === "repeated" ? repeated : accepted
  // No secret of ours, a wrong signature and the wrong device look alike to who sends it.
  const tag = status === 401 ? "WebhookUnsigned" : `Webhook${pascalCase(outcome)}`
  return refused(status, tag, message, headersFor(status))
}

/** How to authenticate belongs to a 401. What was not read to its end leaves a connection that cannot be used again. */
const headersFor = (status: number): Readonly<Record<string, string>> => {
  if (status === 401) return { "www-authenticate": "Signature" }
  return status === 408 || status === 413 ? { connection: "close" } : {}
}

export const WebhookRoutes = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const ingest = yield* WebhookIngest
  const clock = yield* Clock.Clock
  const inFlight = new InFlight()

  const take = Effect.fnUntraced(function*(request: Request, gateway: string, body: Body) {
    const startedAt = monotonicMillis(clock)
    const refuse = (outcome: WebhookOutcome) => ingest.refuse({ gateway, startedAt }, outcome)
    const early = refuseUnread(request)
    if (early !== null) return yield* refuse(early)
    const unread = yield* Effect.flip(readBody(request, body)).pipe(Effect.orElseSucceed(() => null))
    if (unread !== null) return yield* refuse(unread)
    return yield* ingest.take({
      gateway,
      device: readDevice(request),
      headers: request.headers,
      body: body.join(),
      startedAt
    })
  })

  yield* router.add(
    "POST",
    "/webhooks/:gateway",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const { gateway = "" } = yield* HttpRouter.params
      if (!inFlight.enter()) {
        return answer(yield* ingest.refuse({ gateway, startedAt: monotonicMillis(clock) }, "busy"))
      }
      const body = new Body(inFlight)
      return yield* Effect.andThen(
        Metric.modify(Metrics.webhooksInFlight, 1),
        Effect.map(take(request, gateway, body), answer)
      ).pipe(Effect.ensuring(Effect.suspend(() => {
        inFlight.leave(body.size)
        return Metric.modify(Metrics.webhooksInFlight, -1)
      })))
    })
  )
}))
