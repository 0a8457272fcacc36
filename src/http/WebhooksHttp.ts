/**
 * `POST /webhooks/{gateway}`: the webhooks of gateways. It needs no API key and skips the checks for browsers: the
 * signature decides. The body is read whole, because the signature is over its bytes, and within bounds of its own,
 * because strangers can send to it.
 */
import { Clock, Context, Deferred, Duration, Effect, Metric, Stream } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import * as Metrics from "../services/Metrics.ts"
import { monotonicMillis } from "../services/monotonic.ts"
import { WebhookIngest } from "../services/WebhookIngest.ts"
import { webhookBodyMax, webhookOutcomes } from "../services/webhookOutcomes.ts"
import type { WebhookOutcome } from "../services/webhookOutcomes.ts"
import { refused } from "./errorResponses.ts"

/** Bodies of a few KiB from a gateway in another country take less; the rest of the time is for the commit. */
export const WebhookBodyTimeout = Context.Reference<Duration.Duration>("columba/http/WebhookBodyTimeout", {
  defaultValue: () => Duration.seconds(5)
})

/**
 * Maximum number of webhooks without an answer. More than a gateway of ten thousand devices has in flight while a
 * commit takes 100 ms.
 */
const inFlightMax = 4096

/** Maximum bytes of bodies that wait for their answer: memory that a process can spare, and the bound of the log. */
const bytesMax = 64 * 1024 * 1024

/** The paths for webhooks of any gateway. The router treats several slashes as one. */
export const isWebhookPath = (path: string): boolean => /^\/+webhooks\//.test(path)

type Request = HttpServerRequest.HttpServerRequest

/**
 * The resources that webhooks without an answer hold. If there is no room for a new one, the oldest whose body is
 * still arriving gives way: bodies of gateways arrive within milliseconds, so a stranger who sends slowly, or much at
 * once, only displaces himself.
 */
class InFlight {
  readonly #arriving = new Set<Body>()
  count = 0
  bytes = 0

  /** Null: there is no place, and none can be freed. */
  enter(): Body | null {
    if (this.count >= inFlightMax && !this.#evictOldest(null)) return null
    this.count++
    const body = new Body(this)
    this.#arriving.add(body)
    return body
  }

  /** Whether this many more bytes may be held for this body. */
  hold(body: Body, bytes: number): boolean {
    while (this.bytes + bytes > bytesMax) if (!this.#evictOldest(body)) return false
    this.bytes += bytes
    return true
  }

  arrived(body: Body): void {
    this.#arriving.delete(body)
  }

  leave(body: Body): void {
    this.#arriving.delete(body)
    if (body.evicted) return
    this.count--
    this.bytes -= body.size
  }

  #evictOldest(asking: Body | null): boolean {
    for (const body of this.#arriving) {
      if (body === asking) return false
      this.leave(body)
      body.evict()
      return true
    }
    return false
  }
}

/** A body that is arriving. */
class Body {
  readonly #inFlight: InFlight
  readonly #gaveWay = Deferred.makeUnsafe<never, WebhookOutcome>()
  #chunks: Array<Uint8Array> = []
  size = 0
  evicted = false

  constructor(inFlight: InFlight) {
    this.#inFlight = inFlight
  }

  /** Null: the chunk was accepted. */
  add(chunk: Uint8Array): WebhookOutcome | null {
    if (this.size + chunk.length > webhookBodyMax) return "too-large"
    if (this.evicted || !this.#inFlight.hold(this, chunk.length)) return "busy"
    this.size += chunk.length
    this.#chunks.push(chunk)
    return null
  }

  evict(): void {
    this.evicted = true
    this.#chunks = []
    Deferred.doneUnsafe(this.#gaveWay, Effect.fail("busy"))
  }

  /** Fails once the body had to give way. */
  get gaveWay(): Effect.Effect<never, WebhookOutcome> {
    return Deferred.await(this.#gaveWay)
  }

  join(): Uint8Array {
    this.#inFlight.arrived(this)
    return this.#chunks.length === 1 ? this.#chunks[0]! : Buffer.concat(this.#chunks)
  }
}

/** The body as it arrived. Fails with the outcome to answer. */
const readBody = (
  request: Request,
  body: Body,
  timeout: Duration.Duration
): Effect.Effect<Uint8Array, WebhookOutcome> =>
  request.stream.pipe(
    Stream.mapError((): WebhookOutcome => "broken"),
    Stream.runForEach((chunk) => {
      const refusal = body.add(chunk)
      return refusal === null ? Effect.void : Effect.fail(refusal)
    }),
    Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.fail<WebhookOutcome>("too-slow") }),
    Effect.raceFirst(body.gaveWay),
    Effect.flatMap(() => body.evicted ? Effect.fail<WebhookOutcome>("busy") : Effect.sync(() => body.join()))
  )

/** The outcome that the headers alone decide. A proxy that compressed the body has changed the signed bytes. */
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
  // A missing secret, a wrong signature and the wrong device are indistinguishable to the sender.
  const tag = status === 401 ? "WebhookUnsigned" : `Webhook${pascalCase(outcome)}`
  return refused(status, tag, message, headersFor(outcome, status))
}

/**
 * Outcomes for which the body may not have been read to its end: the connection cannot be used again, and must not
 * wait for the rest.
 */
const unread: ReadonlySet<WebhookOutcome> = new Set(["busy", "too-slow", "too-large", "encoded", "broken"])

/** A 401 must name the authentication scheme. */
const headersFor = (outcome: WebhookOutcome, status: number): Readonly<Record<string, string>> => {
  if (status === 401) return { "www-authenticate": "Signature" }
  return unread.has(outcome) ? { connection: "close" } : {}
}

export const WebhookRoutes = HttpRouter.use(Effect.fnUntraced(function*(router) {
  const ingest = yield* WebhookIngest
  const timeout = yield* WebhookBodyTimeout
  const clock = yield* Clock.Clock
  const inFlight = new InFlight()

  const take = Effect.fnUntraced(function*(request: Request, gateway: string, body: Body) {
    const startedAt = monotonicMillis(clock)
    const refuse = (outcome: WebhookOutcome) => ingest.refuse({ gateway, startedAt }, outcome)
    const early = refuseUnread(request)
    if (early !== null) return yield* refuse(early)
    const read = yield* Effect.result(readBody(request, body, timeout))
    if (read._tag === "Failure") return yield* refuse(read.failure)
    const { headers } = request
    return yield* ingest.take({ gateway, device: readDevice(request), headers, body: read.success, startedAt })
  })

  yield* router.add(
    "POST",
    "/webhooks/:gateway",
    Effect.gen(function*() {
      const request = yield* HttpServerRequest.HttpServerRequest
      const { gateway = "" } = yield* HttpRouter.params
      const body = inFlight.enter()
      if (body === null) return answer(yield* ingest.refuse({ gateway, startedAt: monotonicMillis(clock) }, "busy"))
      return yield* Effect.andThen(
        Metric.modify(Metrics.webhooksInFlight, 1),
        Effect.map(take(request, gateway, body), answer)
      ).pipe(Effect.ensuring(Effect.suspend(() => {
        inFlight.leave(body)
        return Metric.modify(Metrics.webhooksInFlight, -1)
      })))
    })
  )
}))
