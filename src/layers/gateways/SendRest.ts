/**
 * The requests that send messages. Their failures differ from those of all others: a request that has not reached the gateway
 * completely may be repeated, and the effect of any other is unknown. So each has a connection of its own: the gateway may just
 * have closed a kept one, and the request would be lost without a way to find out.
 */
import { Effect, type Scope, Stream } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { HttpClientError, HttpMethod } from "effect/http"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import { SendOutcomeUnknown } from "../../services/GatewayParts.ts"
import type { FileBody } from "./fileBodies.ts"
import { describeFailure, makeHttpClient } from "./RestClient.ts"
import type { RestOptions, RestReply } from "./RestClient.ts"

export interface SendRequest {
  readonly method: HttpMethod.HttpMethod
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON, unless it is a file's. Undefined: no body. */
  readonly body: unknown
  readonly file?: FileBody
}

export interface SendRest {
  /** Returns an answer of any status; the dialect interprets it. */
  readonly submit: (request: SendRequest) => Effect.Effect<RestReply, GatewayUnavailable | SendOutcomeUnknown>
}

/** Maximum number of concurrent messages to one gateway, more than it sends at a time. */
const connectionsMax = 16

/** GOWA abandons a message after 45 s, and answers so; an earlier end would leave more messages in doubt. */
const answerMillis = 60_000

/** Minimum upload speed of a file: 1 MB/s. */
const bytesPerMilli = 1_000

const operation = "take a message"

export const make = Effect.fnUntraced(function*(
  options: Pick<RestOptions, "name" | "headers">
): Effect.fn.Return<SendRest, never, Scope.Scope> {
  const client = yield* makeHttpClient({ keepAlive: false, maxSockets: connectionsMax })
  return {
    submit: ({ body, file, headers, method, url }) => {
      const request = HttpClientRequest.make(method)(url, {
        headers: { accept: "application/json", ...options.headers, ...headers }
      })
      const progress = { whole: file === undefined }
      const millis = answerMillis + Math.ceil((file?.size ?? 0) / bytesPerMilli)
      const withBody = file === undefined
        ? body === undefined ? request : HttpClientRequest.bodyJsonUnsafe(request, body)
        : HttpClientRequest.bodyStream(request, noting(file.content, progress), {
          contentType: file.contentType,
          contentLength: file.size
        })
      return client.execute(withBody).pipe(
        Effect.flatMap((response) => Effect.map(response.text, (text) => ({ status: response.status, text }))),
        Effect.mapError((error) => explain(options.name, error, progress.whole)),
        Effect.timeoutOrElse({
          duration: millis,
          orElse: () => {
            const detail = `no answer within ${millis / 1000} s`
            return Effect.fail(
              progress.whole
                ? new SendOutcomeUnknown({ message: detail })
                : GatewayUnavailable.of(options.name, operation, detail)
            )
          }
        }),
        Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
      )
    }
  }
})

/** Records when the last of the body was requested: before that, the gateway cannot have received all of it. */
const noting = (content: FileBody["content"], progress: { whole: boolean }): FileBody["content"] =>
  Stream.concat(
    content,
    Stream.suspend(() => {
      progress.whole = true
      return Stream.empty
    })
  )

const explain = (
  name: GatewayName,
  error: HttpClientError.HttpClientError,
  whole: boolean
): GatewayUnavailable | SendOutcomeUnknown => {
  const detail = describeFailure(error)
  return !whole || hasNotBegun(error)
    ? GatewayUnavailable.of(name, operation, detail)
    : new SendOutcomeUnknown({ message: `the connection broke while the gateway had the message (${detail})` })
}

/** While resolving or connecting, nothing of the request had been sent. */
const connecting = new Set(["connect", "getaddrinfo"])

/** An untrusted certificate ends the handshake, before the request. */
const certificateCode = /^(ERR_TLS_|CERT_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_|ERR_SSL_)/

const hasNotBegun = ({ reason }: HttpClientError.HttpClientError): boolean => {
  if (reason._tag === "InvalidUrlError" || reason._tag === "EncodeError") return true
  return reason._tag === "TransportError" && isOfConnecting(reason.cause)
}

const isOfConnecting = (cause: unknown): boolean => {
  if (!(cause instanceof Error)) return false
  // A host name with several addresses fails with one error for each.
  if (cause instanceof AggregateError) return cause.errors.length > 0 && cause.errors.every(isOfConnecting)
  const { code, syscall } = cause as NodeJS.ErrnoException
  return connecting.has(syscall ?? "") || certificateCode.test(code ?? "")
}
