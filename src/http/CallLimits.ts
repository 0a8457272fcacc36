/**
 * How often a key may call, and how often an address may present an unknown key. Both are counted in this process
 * alone, in bounded memory. A request with a valid key is never refused for the failures of its address: behind a
 * proxy all callers have one address, and one of them could shut the others out. The length of keys, not this limit,
 * makes guessing hopeless; the limit bounds the cost of guessing and reports it.
 */
import { Clock, Context, Effect, Layer, Metric } from "effect"
import { TooManyRequests, Unauthorized } from "../contracts/Authorization.ts"
import type { KnownKey } from "../services/KeyDirectory.ts"
import { authenticationFailures } from "../services/Metrics.ts"
import { monotonicMillis } from "../services/monotonic.ts"
import { RateBuckets } from "../services/RateBuckets.ts"
import { RepeatedWarnings } from "../services/RepeatedWarnings.ts"

/**
 * The rate of a key without its own limit: more than dashboards and integrations need, less than a process can serve.
 */
export const requestsPerSecondDefault = 100

/** How many seconds of its rate a key may use at once: a page that loads makes many requests together. */
const burstSeconds = 2

/** Failures of one address: a person who mistypes, or a program with an old key that retries now and then. */
export const failuresBurst = 20
const failuresPerSecond = 10 / 60

/** Some hundred bytes each. A limit per address does not stop an attacker with more addresses than this. */
export const addressesMax = 10_000

/** Far more than there can be keys. */
const keysMax = 2_000

export class CallLimits extends Context.Service<CallLimits, {
  /** Counts a request of the key, or fails if the key has used up its rate. */
  readonly take: (key: KnownKey) => Effect.Effect<void, TooManyRequests>
  /** An unknown key was presented from this address: fails with the refusal to send. */
  readonly refuse: (address: string) => Effect.Effect<never, Unauthorized | TooManyRequests>
}>()("columba/http/CallLimits") {
  static readonly layer = Layer.effect(
    CallLimits,
    Effect.map(Clock.Clock, (clock) => {
      const calls = new RateBuckets(keysMax)
      const failures = new RateBuckets(addressesMax)
      const warnings = new RepeatedWarnings()
      return CallLimits.of({
        take: ({ id, name, requestsPerSecond }) =>
          Effect.suspend(() => {
            const perSecond = requestsPerSecond ?? requestsPerSecondDefault
            const wait = calls.take(id, { perSecond, burst: perSecond * burstSeconds }, monotonicMillis(clock))
            return wait === 0 ? Effect.void : Effect.fail(TooManyRequests.ofKey(name, perSecond, wait))
          }),
        refuse: (address) =>
          Effect.suspend(() => {
            const rate = { perSecond: failuresPerSecond, burst: failuresBurst }
            const wait = failures.take(address, rate, monotonicMillis(clock))
            const outcome = wait === 0 ? Unauthorized.unknown() : TooManyRequests.failures(wait)
            return Metric.update(authenticationFailures, 1).pipe(
              Effect.andThen(
                wait === 0
                  ? Effect.void
                  : warnings.warn("failures", "API keys that are none are presented again and again", { address })
              ),
              Effect.andThen(Effect.fail(outcome))
            )
          })
      })
    })
  )
}
