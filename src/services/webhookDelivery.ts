/**
 * One attempt to deliver one event to one endpoint, and its result. Deliveries and an operator's test event use the
 * same code.
 */
import { Clock, DateTime, Effect, Redacted } from "effect"
import type { DeliveryOutcome, DeliveryResult } from "../domain/Subscription.ts"
import { monotonicMillis } from "./monotonic.ts"
import type { OutboundHttp } from "./OutboundHttp.ts"
import { SecretUnreadable } from "./SecretSeal.ts"
import type { SecretSeal } from "./SecretSeal.ts"
import type { StoredSubscription } from "./SubscriptionRepository.ts"
import { readSecret, signHeaders } from "./webhookSignature.ts"

/** A subscription with its secrets open. */
export interface Endpoint {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly key: Redacted.Redacted<Uint8Array>
  readonly previous: { readonly key: Redacted.Redacted<Uint8Array>; readonly untilMillis: number } | null
}

export interface Attempted extends DeliveryResult {
  /** The wait that the endpoint requests. */
  readonly retryAfterSeconds: number | null
}

/** Opens the sealed secrets. */
export const openEndpoint = Effect.fnUntraced(function*(
  seal: SecretSeal["Service"],
  { sealed, subscription: { id, previousSecretUntil, url } }: StoredSubscription
): Effect.fn.Return<Endpoint, SecretUnreadable> {
  const openKey = Effect.fnUntraced(function*(text: string) {
    const key = readSecret(yield* seal.open(text, { owner: id, field: "secret" }))
    return key === null ? yield* SecretUnreadable.of({ owner: id, field: "secret" }) : Redacted.make(key)
  })
  const headers = sealed.headers === null
    ? {}
    : JSON.parse(Redacted.value(yield* seal.open(sealed.headers, { owner: id, field: "headers" })))
  return {
    url,
    headers,
    key: yield* openKey(sealed.secret),
    previous: sealed.previousSecret === null || previousSecretUntil === null
      ? null
      : { key: yield* openKey(sealed.previousSecret), untilMillis: Date.parse(previousSecretUntil) }
  }
})

/** An event as the body of a request. */
export interface WebhookMessage {
  readonly id: string
  readonly body: Uint8Array
}

/** Never fails: a refusal by the endpoint is an outcome. */
export const attempt = Effect.fnUntraced(function*(
  outbound: OutboundHttp["Service"],
  endpoint: Endpoint,
  { body, id }: WebhookMessage
): Effect.fn.Return<Attempted> {
  const clock = yield* Clock.Clock
  const began = monotonicMillis(clock)
  const now = DateTime.toEpochMillis(yield* DateTime.now)
  const { previous } = endpoint
  const keys = [endpoint.key, ...(previous !== null && now < previous.untilMillis ? [previous.key] : [])]
  const signed = signHeaders(keys.map(Redacted.value), id, Math.floor(now / 1000), body)
  const headers = {
    ...endpoint.headers,
    "content-type": "application/json",
    "user-agent": "Columba-Webhooks/1",
    ...signed
  }
  const ended = (
    outcome: DeliveryOutcome,
    status: number | null,
    detail: string | null,
    retryAfter: number | null
  ) => ({
    outcome,
    status,
    detail,
    millis: Math.round(monotonicMillis(clock) - began),
    retryAfterSeconds: retryAfter
  })
  return yield* outbound.post({ url: endpoint.url, headers, body }).pipe(
    Effect.map(({ retryAfterSeconds, status }) => ended(readOutcome(status), status, null, retryAfterSeconds)),
    Effect.catchTags({
      OutboundRefused: ({ message, reason }) =>
        Effect.succeed(ended(reason === "unresolved" ? "connection" : "forbidden", null, message, null)),
      OutboundFailed: ({ message, reason }) => Effect.succeed(ended(reason, null, message, null))
    })
  )
})

/** Statuses with which a working endpoint refuses this particular event. */
const refusals: ReadonlySet<number> = new Set([400, 409, 413, 415, 422])

const readOutcome = (status: number): DeliveryOutcome => {
  if (status >= 200 && status < 300) return "delivered"
  if (status === 410) return "gone"
  if (status === 429) return "throttled"
  return refusals.has(status) ? "refused" : "failed"
}
