/**
 * HTTP requests to one gateway: a pool of connections that the requests share, a deadline and a size limit per
 * answer, and no redirects. Every adapter uses it, so a slow gateway costs each of them the same.
 *
 * A reply of any status is a success here: the dialect interprets the status. Only a missing or incomplete answer is
 * `GatewayUnavailable`. Neither URL nor body enters an error, a span or a log line: paths of
 * some dialects contain phone numbers.
 */
import * as NodeHttpClient from "@effect/platform-node/NodeHttpClient"
import { Effect, type Scope, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { HttpClientError } from "effect/http"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import { Origin, renderHeaders } from "./http/Origin.ts"
import { RequestPool } from "./http/RequestPool.ts"
import type { PooledRequest, RequestPoolOptions } from "./http/RequestPool.ts"

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
  readonly method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE"
  readonly url: URL
  /** From the first byte of the request to the last one of the answer. */
  readonly millis: number
  /** Sent in addition to those of every request. */
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body?: unknown
  /** Maximum size of an answer that is read. 4 MiB by default. */
  readonly bodyBytesMax?: number
  /**
   * The request only reads, so it may be sent again where a kept connection was closed before any answer. Not every GET of
   * a gateway only reads: some log in or out.
   */
  readonly repeatable?: boolean
  /** On a separate connection, so that slow answers to other requests cannot delay this one. */
  readonly apart?: boolean
}

export interface RestReply {
  readonly status: number
  /** Null where the body is above the bound. */
  readonly text: string | null
}

/** An answer whose body has not been read yet. */
export interface RestFile {
  readonly status: number
  readonly headers: Readonly<Record<string, string | undefined>>
  readonly content: Stream.Stream<Uint8Array, GatewayUnavailable>
}

export interface RestClient {
  readonly ask: (request: RestRequest) => Effect.Effect<RestReply, GatewayUnavailable>
  /**
   * Requests a file. `millis` is the time until the answer begins; the body is read at the caller's pace, and is cancelled with
   * the scope.
   */
  readonly open: (
    request: Pick<RestRequest, "operation" | "url" | "millis" | "headers">
  ) => Effect.Effect<RestFile, GatewayUnavailable, Scope.Scope>
  /** A path below the base. Each segment is percent-encoded. */
  readonly at: (...segments: ReadonlyArray<string>) => URL
  /** A path at the root of the origin, whatever the base path is. */
  readonly atRoot: (path: string) => URL
}

/** Maximum number of connections: status requests are spread in time, and a gateway has one small store behind it. */
const connectionsMax = 16
/** Unused connections are closed after this time: below the 5 s after which many servers close theirs. */
const idleMillisMax = 4_000
/** Connections for `apart` requests: one probe at a time, and one that is being cancelled. */
const apartConnectionsMax = 2
/** Connections for files: a slow reader must not delay other requests. */
const fileConnectionsMax = 8
/** Enough for a list of some thousand slots or a page of a proxy. */
const bodyBytesDefault = 4 * 1024 * 1024

export const makeHttpClient = Effect.fnUntraced(function*(options: NodeHttpClient.HttpAgentOptions) {
  const agent = yield* NodeHttpClient.makeAgent(options)
  return yield* Effect.provideService(NodeHttpClient.makeNodeHttp, NodeHttpClient.HttpAgent, agent)
})

export const make = Effect.fnUntraced(
  function*(options: RestOptions): Effect.fn.Return<RestClient, never, Scope.Scope> {
    const origin = new Origin(options.base)
    const openPool = (limits: RequestPoolOptions) =>
      Effect.acquireRelease(
        Effect.sync(() => new RequestPool(origin, limits)),
        (pool) => Effect.sync(() => pool.close())
      )
    const pool = yield* openPool({ connectionsMax, idleMillisMax })
    const apart = yield* openPool({ connectionsMax: apartConnectionsMax, idleMillisMax: 0 })
    const files = yield* makeHttpClient({ keepAlive: false, maxSockets: fileConnectionsMax })
    const base = options.base.href.replace(/[?#].*$/, "").replace(/\/$/, "")

    const ofEveryRequest = { accept: "application/json", ...toLowerCase(options.headers) }
    let rendered: string | null = null
    const writeRequest = ({ apart, body, headers, method, url }: RestRequest): Pick<PooledRequest, "head" | "body"> => {
      const lines = (headers === undefined
        ? rendered ??= renderHeaders(ofEveryRequest)
        : renderHeaders({ ...ofEveryRequest, ...toLowerCase(headers) })) +
        (apart === true ? "connection: close\r\n" : "")
      if (body === undefined) {
        return {
          head: origin.writeHead(method, url, method === "GET" ? lines : `${lines}content-length: 0\r\n`),
          body: ""
        }
      }
      const json = JSON.stringify(body)
      const framing = `content-type: application/json\r\ncontent-length: ${Buffer.byteLength(json)}\r\n`
      return { head: origin.writeHead(method, url, lines + framing), body: json }
    }

    const ask = (question: RestRequest): Effect.Effect<RestReply, GatewayUnavailable> =>
      Effect.callback((resume) => {
        const connections = question.apart === true ? apart : pool
        const fail = (detail: string) => {
          clearTimeout(deadline)
          resume(Effect.fail(GatewayUnavailable.of(options.name, question.operation, detail)))
        }
        const request: PooledRequest = {
          ...writeRequest(question),
          repeatable: question.repeatable === true,
          bodyBytesMax: question.bodyBytesMax ?? bodyBytesDefault,
          onReply: (status, text) => {
            clearTimeout(deadline)
            resume(Effect.succeed({ status, text }))
          },
          onFailure: fail
        }
        const deadline = setTimeout(() => {
          connections.withdraw(request)
          fail(`no answer within ${question.millis} ms`)
        }, question.millis)
        connections.submit(request)
        return Effect.sync(() => {
          clearTimeout(deadline)
          connections.withdraw(request)
        })
      })

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

const toLowerCase = (headers: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]))

/** At most the error's code: its message quotes the URL. */
export const describeFailure = ({ reason }: HttpClientError.HttpClientError): string => {
  if (reason._tag === "DecodeError") return "its answer broke off"
  const { cause } = reason
  return cause instanceof Error && "code" in cause && typeof cause.code === "string"
    ? cause.code
    : "the connection failed"
}
