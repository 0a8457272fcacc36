/**
 * `SharedPacing` over Redis: one token bucket per account, by `effect/persistence`. Redis holds up nothing: while it does not
 * answer within a moment, devices keep to their own pacing, and readiness and a metric say so.
 */
import { Duration, Effect, Exit, Layer, Metric, Redacted } from "effect"
import { RateLimiter } from "effect/persistence"
import { NodeRedis } from "@effect/platform-node"
import { readRate } from "../../domain/Pacing.ts"
import { digest } from "../../services/EventIdentity.ts"
import * as Metrics from "../../services/Metrics.ts"
import { Readiness } from "../../services/Readiness.ts"
import { SharedPacing } from "../../services/SharedPacing.ts"

/** A message waits no longer for Redis. */
const answerMax = "300 millis"

const connectMillis = 2000

/** From one attempt to connect to the next. */
const reconnectMillis = 1000

export const layer = (url: Redacted.Redacted<string>): Layer.Layer<SharedPacing, never, Readiness> =>
  Layer.effect(
    SharedPacing,
    Effect.gen(function*() {
      const readiness = yield* Readiness
      const scope = yield* Effect.scope
      let limiter: RateLimiter.RateLimiter | null = null
      let isThere: boolean | null = null

      const note = (answered: boolean): Effect.Effect<void> =>
        Effect.suspend(() => {
          if (isThere === answered) return Effect.void
          isThere = answered
          return Effect.andThen(
            Metric.update(Metrics.redisConnected, answered ? 1 : 0),
            answered
              ? Effect.logInfo("Redis answers: the rates of accounts are shared")
              : Effect.logWarning("Redis does not answer: each process keeps to the pacing of its own devices")
          )
        })

      const client = NodeRedis.layer({
        url: Redacted.value(url),
        // What cannot be asked now is not asked later: the message has gone by then.
        disableOfflineQueue: true,
        socket: { connectTimeout: connectMillis, reconnectStrategy: () => reconnectMillis }
      })
      const limiting = RateLimiter.layer.pipe(
        Layer.provide(RateLimiter.layerStoreRedis({ prefix: "columba:pacing:" })),
        Layer.provide(client)
      )
      // Connecting may take for ever, and the start of the process does not wait for it.
      yield* Effect.forkScoped(
        Layer.buildWithScope(limiting, scope).pipe(
          Effect.flatMap((context) => Effect.provideContext(RateLimiter.RateLimiter, context)),
          Effect.flatMap((built) => {
            limiter = built
            return note(true)
          }),
          Effect.catchCause(() => note(false))
        )
      )
      yield* readiness.contribute(
        "redis",
        Effect.sync(() => isThere === true ? "rates are shared" : "no answer; each process keeps to its own pacing")
      )
      return SharedPacing.of({
        take: Effect.fnUntraced(function*(account, { burst = 1, rate }) {
          const interval = rate === undefined ? null : readRate(rate)
          if (interval === null) return 0
          if (limiter === null) {
            yield* note(false)
            return 0
          }
          const taken = yield* Effect.exit(Effect.timeout(
            limiter.consume({
              algorithm: "token-bucket",
              onExceeded: "fail",
              window: Duration.millis(interval * burst),
              limit: burst,
              key: digest(account)
            }),
            answerMax
          ))
          if (Exit.isSuccess(taken)) {
            yield* note(true)
            return 0
          }
          const wait = readWait(taken)
          yield* note(wait !== null)
          return wait ?? 0
        })
      })
    })
  )

/** Null where it is no answer of Redis. */
const readWait = (
  exit: Exit.Failure<unknown, RateLimiter.RateLimiterError | { readonly _tag: string }>
): number | null => {
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  if (error === undefined || !("reason" in error) || error.reason._tag !== "RateLimitExceeded") return null
  return Math.max(1, Duration.toMillis(error.reason.retryAfter))
}
