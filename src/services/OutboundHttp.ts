/**
 * Requests to servers that a caller of the API has named: the endpoints of subscriptions, and media. Such a request
 * must not reach servers that the caller could not reach, so the allowed targets are decided here and nowhere else,
 * when the URL is set and again at every connection.
 */
import { Context, Schema } from "effect"
import type { Effect, Scope, Stream } from "effect"

/**
 * `invalid`: no absolute URL of a server, or its spelling differs from its meaning (numbers in other bases, dots at
 * the end, letters that need an encoding, credentials) · `scheme`: neither https nor, if private addresses are
 * allowed, http · `port`: reserved for another protocol · `address`: not of a machine on the public internet ·
 * `unresolved`: the name has no address at the moment.
 */
export class OutboundRefused extends Schema.TaggedError<OutboundRefused>()("OutboundRefused", {
  message: Schema.String,
  reason: Schema.Literals(["invalid", "scheme", "port", "address", "unresolved"])
}) {
  static of(reason: OutboundRefused["reason"], detail: string): OutboundRefused {
    return new OutboundRefused({ reason, message: detail })
  }
}

/** No complete head of an answer came. Contains a cause and never the URL, which may hold a secret. */
export class OutboundFailed extends Schema.TaggedError<OutboundFailed>()("OutboundFailed", {
  message: Schema.String,
  reason: Schema.Literals(["timeout", "connection"])
}) {
  static of(reason: OutboundFailed["reason"], detail: string): OutboundFailed {
    return new OutboundFailed({ reason, message: detail })
  }
}

/** The file is above the caller's limit. */
export class OutboundTooLarge extends Schema.TaggedError<OutboundTooLarge>()("OutboundTooLarge", {
  message: Schema.String,
  bytesMax: Schema.Int
}) {
  static of(bytesMax: number): OutboundTooLarge {
    return new OutboundTooLarge({ bytesMax, message: `The file is larger than ${bytesMax} bytes` })
  }
}

export interface OutboundPost {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly body: Uint8Array
}

/** Redirects are not followed: they are answers like any other. The body is ignored. */
export interface OutboundReply {
  readonly status: number
  /** The header `Retry-After` in seconds, if it is a number of seconds. */
  readonly retryAfterSeconds: number | null
}

export interface OutboundFetch {
  readonly url: string
  readonly headers?: Readonly<Record<string, string>>
  /** Maximum number of bytes that are read. */
  readonly bytesMax: number
}

/** An answer of any status; redirects are not followed. `size` is the server's claim. */
export interface OutboundFile {
  readonly status: number
  readonly contentType: string | null
  readonly size: number | null
  /** Can be read once. Fails if the server ends early, stalls or takes too long, and above the limit. */
  readonly content: Stream.Stream<Uint8Array, OutboundFailed | OutboundTooLarge>
}

export class OutboundHttp extends Context.Service<OutboundHttp, {
  /** Whether requests may go to this URL, as its name resolves now. */
  readonly check: (url: string) => Effect.Effect<void, OutboundRefused>
  /** One POST with one answer, within the bounds of time and size of this service. */
  readonly post: (request: OutboundPost) => Effect.Effect<OutboundReply, OutboundRefused | OutboundFailed>
  /** One GET, for as long as the scope: its body is read as the caller reads it. */
  readonly fetch: (
    request: OutboundFetch
  ) => Effect.Effect<OutboundFile, OutboundRefused | OutboundFailed | OutboundTooLarge, Scope.Scope>
}>()("columba/services/OutboundHttp") {}
