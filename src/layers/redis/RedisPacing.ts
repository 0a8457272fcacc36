/**
 * `SharedPacing` over Redis: one token bucket per account, kept by a script under Redis's clock, so that the clocks of the
 * machines that share it do not matter. Redis delays nothing: while it does not answer within a moment it is not asked, each
 * installation keeps to its own pacing, and readiness and a metric report it.
 */
import { createClient } from "@redis/client"
import { Cause, Effect, Layer, Metric, Redacted } from "effect"
import type { Scope } from "effect"
import { readRate } from "../../domain/Pacing.ts"
import type { Pacing } from "../../domain/Pacing.ts"
import { digest } from "../../services/EventIdentity.ts"
import * as Metrics from "../../services/Metrics.ts"
import { Readiness } from "../../services/Readiness.ts"
import { SharedPacing } from "../../services/SharedPacing.ts"

/** A message waits no longer for Redis, and only the first ones do when Redis has stopped answering. */
const answerMax = "300 millis"

/** The interval at which a connection is probed, with the same script as devices use. */
const probeEvery = "1 second"

/** Time limit of connecting and logging in. */
const connectMax = "3 seconds"

const reconnectAfter = "1 second"

/** Maximum number of requests of one connection without an answer. While Redis answers there is at most one per device. */
const requestsMax = 20_000

const prefix = "columba:pacing:"

/**
 * The bucket's whole state is the time at which it is full again. That time is never further away than an empty bucket takes
 * to fill, also where Redis's clock was set back or the pacing was a slower one. Returns the milliseconds to wait for one
 * turn. If these are 0 the turns are taken: one, none for a mere check, or minus one to return one.
 */
const script = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local interval, burst, turns = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local full = math.max(now, math.min(tonumber(redis.call('GET', KEYS[1]) or 0), now + math.ceil(burst * interval)))
local wait = 0
if turns >= 0 then wait = math.max(0, math.ceil(full - (burst - 1) * interval - now)) end
if turns == 0 then return wait end
if wait == 0 then full = math.max(now, math.ceil(full + turns * interval)) end
if full > now then
  redis.call('SET', KEYS[1], string.format('%.0f', full), 'PX', string.format('%.0f', full - now))
else
  redis.call('DEL', KEYS[1])
end
return wait
`

type Client = ReturnType<typeof open>

type Turns = 1 | 0 | -1

interface Bucket {
  readonly key: string
  readonly interval: number
  readonly burst: number
}

/** Uses a key that belongs to no account, for probing: its bucket is full again after a millisecond. */
const probe: Bucket = { key: "probe", interval: 1, burst: 1000 }

export const layer = (url: Redacted.Redacted<string>): Layer.Layer<SharedPacing, never, Readiness> =>
  Layer.effect(
    SharedPacing,
    Effect.gen(function*() {
      const readiness = yield* Readiness
      /** The connection, if it answered the last request. */
      let current: Client | null = null
      let missing: string | null = "not connected yet"
      let reported = false

      const answers = (client: Client): Effect.Effect<void> =>
        Effect.suspend(() => {
          current = client
          if (missing === null) return Effect.void
          missing = null
          reported = false
          return Effect.andThen(
            Metric.update(Metrics.redisConnected, 1),
            Effect.logInfo("Redis answers: the rates of accounts are shared")
          )
        })

      const isAway = (reason: string): Effect.Effect<void> =>
        Effect.suspend(() => {
          current = null
          missing = reason
          if (reported) return Effect.void
          reported = true
          return Effect.andThen(
            Metric.update(Metrics.redisConnected, 0),
            Effect.logWarning(`Redis does not answer (${reason}): this installation keeps to its own pacing alone`)
          )
        })

      const connected = Effect.gen(function*() {
        const client = yield* connect(url)
        return yield* ask(client, probe, 1).pipe(
          Effect.andThen(answers(client)),
          Effect.andThen(Effect.sleep(probeEvery)),
          Effect.forever
        )
      }).pipe(Effect.scoped)

      yield* Metric.update(Metrics.redisConnected, 0)
      // The start of the process does not wait for Redis.
      yield* connected.pipe(
        Effect.catchCause((cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : isAway(describe(cause))),
        Effect.andThen(Effect.sleep(reconnectAfter)),
        Effect.forever,
        Effect.forkScoped
      )
      yield* readiness.contribute(
        "redis",
        Effect.sync(() =>
          missing === null ? "rates are shared" : `${missing}; this installation keeps to its own pacing`
        )
      )

      const request = (account: string, pacing: Pacing, turns: Turns): Effect.Effect<number> =>
        Effect.suspend(() => {
          const bucket = bucketOf(account, pacing)
          const client = current
          if (bucket === null || client === null) return Effect.succeed(0)
          return Effect.catchCause(
            ask(client, bucket, turns),
            (cause) => Cause.hasInterruptsOnly(cause) ? Effect.interrupt : Effect.as(isAway(describe(cause)), 0)
          )
        })

      return SharedPacing.of({
        take: (account, pacing) => request(account, pacing, 1),
        wait: (account, pacing) => request(account, pacing, 0),
        giveBack: (account, pacing) => Effect.asVoid(request(account, pacing, -1))
      })
    })
  )

const bucketOf = (account: string, { burst = 1, rate }: Pacing): Bucket | null => {
  const interval = rate === undefined ? null : readRate(rate)
  return interval === null ? null : { key: digest(account), interval, burst }
}

const ask = (client: Client, { burst, interval, key }: Bucket, turns: Turns): Effect.Effect<number, string> =>
  Effect.tryPromise({
    try: () =>
      client.eval(script, {
        keys: [`${prefix}${key}`],
        arguments: [String(interval), String(burst), String(turns)]
      }),
    catch: reasonOf
  }).pipe(
    Effect.timeoutOrElse({ duration: answerMax, orElse: () => Effect.fail(`no answer within ${answerMax}`) }),
    Effect.map(Number)
  )

/** A connection does not repair itself: it ends with its scope, and is replaced by a new one. */
const open = (url: Redacted.Redacted<string>) =>
  createClient({
    url: Redacted.value(url),
    // Requests are not queued while offline: the message would have left by then.
    disableOfflineQueue: true,
    commandsQueueMaxLength: requestsMax,
    socket: { reconnectStrategy: false }
  })

const connect = Effect.fnUntraced(
  function*(url: Redacted.Redacted<string>): Effect.fn.Return<Client, string, Scope.Scope> {
    const client = yield* Effect.acquireRelease(
      Effect.try({ try: () => open(url), catch: reasonOf }),
      // Not `close`, which waits for the answers of a Redis that gives none.
      (opened) => Effect.sync(() => opened.destroy())
    )
    // Without a listener Node throws the error. The next caller gets the failure.
    client.on("error", () => {})
    yield* Effect.tryPromise({ try: () => client.connect(), catch: reasonOf }).pipe(
      Effect.timeoutOrElse({ duration: connectMax, orElse: () => Effect.fail(`no connection within ${connectMax}`) })
    )
    return client
  }
)

/** Whether that Redis supports all that is asked of it; fails with the reason. Changes no account's rate. */
export const check = (url: Redacted.Redacted<string>): Effect.Effect<void, string, Scope.Scope> =>
  Effect.flatMap(connect(url), (client) => Effect.asVoid(ask(client, probe, 1)))

/** The message alone: other properties of such errors may hold the URL. */
const reasonOf = (error: unknown): string => {
  // Each of several addresses has its own error, and the aggregate has no message.
  const first: unknown = error instanceof AggregateError ? error.errors[0] : error
  return first instanceof Error ? first.message : "an unknown error"
}

const describe = (cause: Cause.Cause<string>): string => {
  const failure = Cause.squash(cause)
  return typeof failure === "string" ? failure : reasonOf(failure)
}
