/**
 * The requests that send messages. They differ from all others in what a failure means: one that has not reached the gateway
 * may be made again, and of any other it is not known what it has done. So each has a connection of its own: on one that was
 * kept, the gateway may have hung up just now, and the request would be lost with no way to tell.
 */
import { Effect, type Scope } from "effect"
import { HttpClient, HttpClientRequest } from "effect/http"
import type { HttpClientError, HttpMethod } from "effect/http"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import { SendOutcomeUnknown } from "../../services/GatewayParts.ts"
import { describeFailure, makeHttpClient } from "./RestClient.ts"
import type { RestOptions, RestReply } from "./RestClient.ts"

export interface SendRequest {
  readonly method: HttpMethod.HttpMethod
  readonly url: URL
  readonly headers?: Readonly<Record<string, string>>
  /** Sent as JSON. */
  readonly body: unknown
}

export interface SendRest {
  /** An answer of any status; what it means is the dialect's business. */
  readonly submit: (request: SendRequest) => Effect.Effect<RestReply, GatewayUnavailable | SendOutcomeUnknown>
}

/** Messages that are on their way to one gateway at once, more than it sends at a time. */
const connectionsMax = 16

/** GOWA gives up a message after 45 s, and answers so; an earlier end would leave more of them in doubt. */
const answerMillis = 60_000

export const make = Effect.fnUntraced(function*(
  options: Pick<RestOptions, "name" | "headers">
): Effect.fn.Return<SendRest, never, Scope.Scope> {
  const client = yield* makeHttpClient({ keepAlive: false, maxSockets: connectionsMax })
  return {
    submit: ({ body, headers, method, url }) => {
      const request = HttpClientRequest.make(method)(url, {
        headers: { accept: "application/json", ...options.headers, ...headers }
      })
      return client.execute(HttpClientRequest.bodyJsonUnsafe(request, body)).pipe(
        Effect.flatMap((response) => Effect.map(response.text, (text) => ({ status: response.status, text }))),
        Effect.mapError((error) => explain(options.name, error)),
        Effect.timeoutOrElse({
          duration: answerMillis,
          orElse: () => Effect.fail(new SendOutcomeUnknown({ message: `no answer within ${answerMillis / 1000} s` }))
        }),
        Effect.provideService(HttpClient.TracerDisabledWhen, () => true)
      )
    }
  }
})

const explain = (
  name: GatewayName,
  error: HttpClientError.HttpClientError
): GatewayUnavailable | SendOutcomeUnknown => {
  const detail = describeFailure(error)
  return hasNotBegun(error)
    ? GatewayUnavailable.of(name, "take a message", detail)
    : new SendOutcomeUnknown({ message: `the connection broke while the gateway had the message (${detail})` })
}

/** While looking up or connecting, nothing of the request had been sent. */
const connecting = new Set(["connect", "getaddrinfo"])

/** A certificate that is not trusted ends the handshake, before the request. */
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
