/**
 * HTTP requests to one gateway: a pool of connections that the requests share, a deadline and a size limit per
 * answer, and no redirects. Every adapter asks through it, so a slow gateway costs each of them the same.
 *
 * A reply of any status is a success here: what a status means is the dialect's business. Only an answer that did not
 * come, or broke off, is `GatewayUnavailable`. Neither URL nor body enters an error, a span or a log line: paths of
 * some dialects name phone numbers.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { ByteSize, Effect, type Scope, Stream } from "effect"
import { HttpClient, HttpClientRequest, HttpIncomingMessage } from "effect/http"
import type { HttpClientError, HttpMethod } from "effect/http"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"

export interface RestOptions {
  readonly name: GatewayName
  /** With the base path. Credentials, query and fragment are not used. */
  readonly base: URL
  /** Sent with every request, for instance the gateway's credentials. */
  readonly headers: Readonly<Record<string, string>>
}

export interface RestRequest {
  /** Completes the sentence "the gateway failed to …". */
  readonly operation: string
  readonly method: HttpMethod.HttpMethod
  readonly url: URL
  /** From the first byte of the request to the last one of the answer. */
  readonly millis: number
  /** Beside those of every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  /** The longest answer that is read. 4 MiB by default. */
  readonly bodyBytesMax?: number
  /** On a connection of its own, so that slow answers to other requests cannot delay this one. */
  readonly apart?: boolean
}

export interface RestReply {
  readonly status: number
  /** Null where the body is above the bound. */
  readonly text: string | null
}

/** An answer whose body is still to come. */
export interface RestFile {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly content: Stream.Stream<Uint8Array, GatewayUnavailable>
}

export interface RestClient {
  readonly ask: (request: RestRequest) => Effect.Effect<RestReply, GatewayUnavailable>
  /**
   * Asks for a file. `millis` until the answer begins; the body is read as the caller reads it, and is given up with the
   * scope.
   */
  readonly open: (
    request: Pick<RestRequest, "operation" | "url" | "millis" | "headers">
  ) => Effect.Effect<RestFile, GatewayUnavailable, Scope.Scope>
  /** A path below the base. Each segment is percent-encoded. */
  readonly at: (...segments: ReadonlyArray<string>) => URL
  /** A path at the root of the origin, whatever the base path is. */
  readonly atRoot: (path: string) => URL
}

/** Connections in use at once: status requests are spread in time, and a gateway has one small store behind it. */
const connectionsMax = 16
/** Unused connections are closed after this time: below the 5 s after which many servers close theirs. */
const idleMillisMax = 4_000
/** Connections for requests that stand apart: one probe at a time, and one that is being given up. */
const apartConnectionsMax = 2
/** Connections for files: one that is read slowly must hold up nothing else. */
const fileConnectionsMax = 8
/** A list of some thousand slots fits; a page of a proxy does too. */
const bodyBytesDefault = 4 * 1024 * 1024

const makeHttpClient = Effect.fnUntraced(function*(options: NodeHttpClient.HttpAgentOptions) {
  const agent = yield* NodeHttpClient.makeAgent(options)
  return yield* Effect.provideService(NodeHttpClient.makeNodeHttp, NodeHttpClient.HttpAgent, agent)
})

export const make = Effect.fnUntraced(
  function*(options: RestOptions): Effect.fn.Return<RestClient, never, Scope.Scope> {
    const pool = yield* makeHttpClient({
      keepAlive: true,
      maxSockets: connectionsMax,
      maxFreeSockets: connectionsMax,
      timeout: idleMillisMax
    })
    const apart = yield* makeHttpClient({ keepAlive: false, maxSockets: apartConnectionsMax })
    const files = yield* makeHttpClient({ keepAlive: false, maxSockets: fileConnectionsMax })
    const base = options.base.href.replace(/[?#].*$/, "").replace(/\/$/, "")

    const ask = (question: RestRequest): Effect.Effect<RestReply, GatewayUnavailable> => {
      const unavailable = (detail: string) => GatewayUnavailable.of(options.name, question.operation, detail)
      const request = HttpClientRequest.make(question.method)(question.url, {
        headers: { accept: "application/json", ...options.headers, ...question.headers }
      })
      const client = question.apart === true ? apart : pool
      return client.execute(
        question.body === undefined ? request : HttpClientRequest.bodyJsonUnsafe(request, question.body)
      ).pipe(
        Effect.flatMap((response) =>
          response.text.pipe(
            Effect.map((text): RestReply => ({ status: response.status, text })),
            Effect.catchIf(isTooLarge, () => Effect.succeed({ status: response.status, text: null }))
          )
        ),
        Effect.mapError((error) => unavailable(describeFailure(error))),
        Effect.timeoutOrElse({
          duration: question.millis,
          orElse: () => Effect.fail(unavailable(`no answer within ${question.millis} ms`))
        }),
        Effect.provideService(
          HttpIncomingMessage.MaxBodySize,
          ByteSize.bytes(question.bodyBytesMax ?? bodyBytesDefault)
        ),
        Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
      )
    }

    const open: RestClient["open"] = ({ headers, millis, operation, url }) => {
      const unavailable = (detail: string) => GatewayUnavailable.of(options.name, operation, detail)
      const request = HttpClientRequest.get(url, { headers: { ...options.headers, ...headers } })
      return HttpClient.withScope(files).execute(request).pipe(
        Effect.map((response): RestFile => ({
          status: response.status,
          headers: response.headers,
          content: Stream.mapError(response.stream, (error) => unavailable(describeFailure(error)))
        })),
        Effect.mapError((error) => unavailable(describeFailure(error))),
        Effect.timeoutOrElse({
          duration: millis,
          orElse: () => Effect.fail(unavailable(`no answer within ${millis} ms`))
        }),
        Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
      )
    }

    return {
      ask,
      open,
      at: (...segments) => new URL(`${base}/${segments.map(encodeURIComponent).join("/")}`),
      atRoot: (path) => new URL(path, options.base)
    }
  }
)

const isTooLarge = ({ reason }: HttpClientError.HttpClientError): boolean =>
  reason._tag === "DecodeError" && typeof reason.cause === "object" && reason.cause !== null &&
  "_tag" in reason.cause && reason.cause._tag === "MaxBytesError"

/** The error's code at most: its message quotes the URL. */
const describeFailure = ({ reason }: HttpClientError.HttpClientError): string => {
  if (reason._tag === "DecodeError") return "its answer broke off"
  const { cause } = reason
  return cause instanceof Error && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : "the connection failed"
}
