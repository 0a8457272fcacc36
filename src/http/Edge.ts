/**
 * The checks of every request, on any route: whether its origin is allowed, how large and how long a request may be,
 * and one form for every failure. The details of a defect go to the log and not into the answer.
 */
import { ByteSize, Cause, Duration, Effect } from "effect"
import type { Scope } from "effect"
import {
  Headers,
  HttpIncomingMessage,
  HttpMiddleware,
  HttpServerError,
  HttpServerRequest,
  HttpServerResponse
} from "effect/http"
import { Socket } from "effect/socket"
import { apiKeyHeader } from "../contracts/Authorization.ts"
import { InternalError } from "../contracts/Failures.ts"
import { isUploadPath, uploadTimeout } from "../contracts/FileEndpoint.ts"
import { isLoopback } from "../services/ApiKeys.ts"
import type { KnownKey } from "../services/KeyDirectory.ts"
import type { Draining } from "./Draining.ts"
import { refused } from "./errorResponses.ts"
import { withPeer } from "./peer.ts"
import { hideAddresses } from "./tracing.ts"
import { socketHeader, socketsPerKeyMax } from "./CallerSockets.ts"
import type { CallerSockets } from "./CallerSockets.ts"
import { isWebhookPath } from "./WebhooksHttp.ts"

type Response = HttpServerResponse.HttpServerResponse
type Request = HttpServerRequest.HttpServerRequest

/** Columba's own requests have a few hundred bytes. */
export const requestBodyMax = ByteSize.mebibytes(1)

/** The time until an answer begins, with all of the request's body. Streams begin at once, so they may last longer. */
export const answerTimeout = Duration.seconds(30)

export interface EdgeOptions {
  /** No keys are configured: only programs of this machine may call, and no web page in a browser of this machine. */
  readonly open: boolean
  /** The methods that some route accepts at this path; empty if none does. */
  readonly methodsAt: (path: string) => ReadonlyArray<string>
  readonly draining: Draining["Service"]
  readonly sockets: CallerSockets["Service"]
  /** The accepted key that the request carries. */
  readonly findKey: (headers: Headers.Headers) => KnownKey | null
  /** Origins whose web pages may call, such as `https://app.example`. None for a server that only programs call. */
  readonly corsOrigins: ReadonlyArray<string>
}

/** How long a browser may cache a preflight answer, in seconds. */
const preflightAge = 600

export const guard = <E>(
  routes: Effect.Effect<Response, E, Request | Scope.Scope>,
  options: EdgeOptions
): Effect.Effect<Response, never, Request | Scope.Scope> =>
  options.corsOrigins.length === 0 ? answer(routes, options) : HttpMiddleware.cors({
    allowedOrigins: (origin) => options.corsOrigins.includes(origin),
    // The last two are the trace of the caller: Effect's client sends both with each request.
    allowedHeaders: ["authorization", apiKeyHeader, "content-type", "last-event-id", "traceparent", "b3"],
    maxAge: preflightAge
  })(answer(routes, options))

const answer = <E>(
  routes: Effect.Effect<Response, E, Request | Scope.Scope>,
  options: EdgeOptions
): Effect.Effect<Response, never, Request | Scope.Scope> =>
  Effect.gen(function*() {
    const request = withPeer(yield* HttpServerRequest.HttpServerRequest)
    const refusal = refuse(request, options)
    if (refusal !== null) return withSecurityHeaders(refusal, request)
    if (isUpgrade(request)) return withSecurityHeaders(asError(yield* upgrade(routes, request, options)), request)
    const response = yield* routes.pipe(
      Effect.provideService(HttpServerRequest.HttpServerRequest, request),
      Effect.provideService(HttpIncomingMessage.MaxBodySize, requestBodyMax),
      Effect.timeoutOrElse({
        duration: isUpload(request) ? uploadTimeout : answerTimeout,
        orElse: () => Effect.succeed(timedOut)
      }),
      Effect.catchCause((cause) => failed(cause, request, options))
    )
    const answered = withSecurityHeaders(asError(response), request)
    // The server waits for its connections when it stops, so a stream that ends then also closes its connection. A
    // refused file is not read to its end.
    return response.body._tag === "Stream" || options.draining.hasBegun() ||
        (response.status >= 400 && isUpload(request))
      ? HttpServerResponse.setHeader(answered, "connection", "close")
      : answered
  })

/** A WebSocket lasts until its client leaves, the server stops, or its time is over (`CallerSockets`). */
const upgrade = Effect.fnUntraced(function*<E>(
  routes: Effect.Effect<Response, E, Request | Scope.Scope>,
  request: Request,
  options: EdgeOptions
) {
  const serve = Effect.catchCause(routes, (cause) => failed(cause, request, options))
  const stopped = Effect.as(options.draining.begun, HttpServerResponse.empty({ status: 503 }))
  if (options.open) return yield* Effect.raceFirst(serve, stopped)
  const key = options.findKey(request.headers)
  const socket = yield* options.sockets.admit(key)
  if (socket === null) return key === null ? tooManyUnauthenticated : tooManyOfKey
  const marked = request.modify({ headers: Headers.set(request.headers, socketHeader, socket.id) })
  return yield* Effect.raceAllFirst([
    Effect.provideService(serve, HttpServerRequest.HttpServerRequest, marked),
    stopped,
    Effect.as(socket.over, HttpServerResponse.empty({ status: 408 }))
  ])
})

const tooManyUnauthenticated = refused(
  503,
  "TooManyUnauthenticated",
  "Too many connections wait for their first request with a key; try again, or send the key when connecting"
)

const tooManyOfKey = refused(
  429,
  "TooManySockets",
  `This key has ${socketsPerKeyMax} WebSockets open; one carries any number of calls and streams`
)

const timedOut = refused(
  503,
  "AnswerTimedOut",
  `No answer within ${Duration.toSeconds(answerTimeout)} s; what was asked may still have been done`,
  // Also for a client that is still sending.
  { connection: "close" }
)

const tooLarge = refused(
  413,
  "BodyTooLarge",
  `A request body may have ${ByteSize.toNumberUnsafe(requestBodyMax)} bytes`,
  {
    connection: "close"
  }
)

const isUpgrade = (request: Request): boolean => request.headers["upgrade"]?.toLowerCase() === "websocket"

/** Null if the request may continue. Webhooks are checked by their signature, and have their own bounds. */
const refuse = (request: Request, options: EdgeOptions): Response | null => {
  if (isWebhookPath(parsePath(request))) return null
  if (isUpload(request)) return options.open ? foreign(request, options.corsOrigins) : null
  if (Number(request.headers["content-length"] ?? 0) > ByteSize.toNumberUnsafe(requestBodyMax)) return tooLarge
  return options.open ? foreign(request, options.corsOrigins) : null
}

/**
 * Without keys, a caller is allowed because it runs on this machine. But a browser on this machine runs pages of other
 * sites. Such a page may let its own name resolve to this server's address (then `Host` is that name), or send a
 * request across origins (then `Origin` is another one). Reads across origins need no check: the browser does not show
 * their answer to the page.
 */
const foreign = (request: Request, corsOrigins: ReadonlyArray<string>): Response | null => {
  const host = request.headers["host"] ?? ""
  if (!isLoopback(host.replace(/:\d+$/, ""))) {
    return refused(403, "HostRefused", "Without API keys, only requests to a loopback host name are answered")
  }
  const origin = request.headers["origin"]
  const reads = (request.method === "GET" || request.method === "HEAD") && !isUpgrade(request)
  return origin === undefined || reads || corsOrigins.includes(origin) || parseHost(origin) === host.toLowerCase()
    ? null
    : refused(403, "OriginRefused", "Without API keys, web pages of other origins are not answered")
}

const parseHost = (origin: string): string | null => URL.canParse(origin) ? new URL(origin).host : null

const failed = (cause: Cause.Cause<unknown>, request: Request, options: EdgeOptions): Effect.Effect<Response> => {
  if (Cause.hasInterruptsOnly(cause)) return Effect.interrupt
  const error = Cause.squash(cause)
  if (HttpServerError.isHttpServerError(error)) {
    if (error.reason._tag === "RouteNotFound") return Effect.succeed(noRoute(request, options))
    if (error.reason._tag === "RequestParseError") {
      return Effect.succeed(
        error.reason.reason === "BodyTooLarge" ? tooLarge : refused(400, "RequestInvalid", "The body could not be read")
      )
    }
  }
  // The handshake of a WebSocket failed, or its connection broke. Neither is a defect of Columba.
  if (Socket.isSocketError(error)) return Effect.succeed(refused(400, "UpgradeFailed", "The WebSocket was not opened"))
  return Effect.as(
    Effect.logError(`Defect while answering ${request.method} ${hideAddresses(parsePath(request))}`, cause),
    refused(500, "InternalError", InternalError.of().message)
  )
}

/** Uploads have bounds of their own, in the store that writes them. */
const isUpload = (request: Request): boolean => request.method === "POST" && isUploadPath(parsePath(request))

const parsePath = (request: Request): string => request.url.split("?", 1)[0] ?? ""

const noRoute = (request: Request, options: EdgeOptions): Response => {
  const path = parsePath(request)
  const methods = options.methodsAt(path)
  return methods.length === 0 || methods.includes(request.method)
    ? refused(404, "RouteNotFound", `There is nothing at ${path.slice(0, 200)}; /docs lists what there is`)
    : refused(405, "MethodNotAllowed", `${path.slice(0, 200)} takes ${methods.join(", ")}`, {
      allow: methods.join(", ")
    })
}

/** The framework answers some refusals with a status alone. These get the form of all other errors. */
const asError = (response: Response): Response => {
  const isJson = response.headers["content-type"]?.includes("json") === true
  if (response.status < 400 || isJson || response.body._tag === "Stream") return response
  if (response.status === 413) return tooLarge
  return response.status === 415
    ? refused(415, "MediaTypeUnknown", "Send JSON, with the header Content-Type: application/json")
    : refused(response.status, "RequestRefused", `The request was refused with status ${response.status}`)
}

/**
 * The content security policy. The dashboard loads its own files and calls this server, plays the media it holds
 * itself, and no text becomes script or markup (trusted types). The documents page, which is not Columba's code,
 * writes styles. No page may frame these.
 */
const choosePolicy = (path: string): string => {
  const base = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
  switch (path) {
    case "/":
      return "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src blob:; " +
        `connect-src 'self'; require-trusted-types-for 'script'; trusted-types 'none'; ${base}`
    case "/docs":
      return "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; " +
        `font-src 'self' data:; connect-src 'self'; ${base}`
    default:
      return `default-src 'none'; ${base}`
  }
}

/** Browser features that no page of Columba uses. */
const unusedFeatures = "camera=(), microphone=(), geolocation=(), payment=(), usb=(), display-capture=()"

const withSecurityHeaders = (response: Response, request: Request): Response =>
  HttpServerResponse.setHeaders(response, {
    // A 401 must name the authentication scheme, and clients look for it.
    ...(response.status === 401 ? { "www-authenticate": response.headers["www-authenticate"] ?? "Bearer" } : {}),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    // No page of another origin gets a handle of these pages, or embeds an answer; CORS decides about reading it.
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": unusedFeatures,
    "content-security-policy": choosePolicy(parsePath(request)),
    "cache-control": response.headers["cache-control"] ?? "no-store"
  })
