/** The rate of an account over Redis: shared by otherwise separate installations, without ever waiting for Redis. */
import { createClient } from "@redis/client"
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Exit, Layer, Logger, Metric, Redacted, Scope } from "effect"
import { parsePacing } from "../../../src/domain/Pacing.ts"
import * as RedisPacing from "../../../src/layers/redis/RedisPacing.ts"
import { digest } from "../../../src/services/EventIdentity.ts"
import * as Metrics from "../../../src/services/Metrics.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { SharedPacing } from "../../../src/services/SharedPacing.ts"
import * as RedisServer from "../../support/servers/RedisServer.ts"
import { until } from "../../support/until.ts"

const account = "6281234567890@s.whatsapp.net"
const pacing = parsePacing("1/min, burst 2")!

/** One installation, until its scope closes. */
const join = (url: string) =>
  Effect.gen(function*() {
    const context = yield* Layer.build(
      Layer.fresh(RedisPacing.layer(Redacted.make(url)).pipe(Layer.provideMerge(Layer.fresh(Readiness.layer))))
    )
    const { giveBack, take, wait } = Context.get(context, SharedPacing)
    const detail = Effect.map(
      Context.get(context, Readiness).report,
      (checks) => checks.find(({ name, ready }) => name === "redis" && ready)?.detail ?? ""
    )
    return {
      take: (name = account, how = pacing) => take(name, how),
      wait: (how = pacing) => wait(account, how),
      giveBack: giveBack(account, pacing),
      detail,
      isShared: Effect.map(detail, (text) => text === "rates are shared")
    }
  })

const joined = Effect.fnUntraced(function*(url: string) {
  const installation = yield* join(url)
  yield* until("Redis is connected", installation.isShared)
  return installation
})

/** An operator at that Redis. */
const operator = (url: string) =>
  Effect.acquireRelease(
    Effect.promise(() => createClient({ url }).connect()),
    (client) => Effect.sync(() => client.destroy())
  )

const timed = <A, E, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.map(Effect.timed(effect), ([duration, value]) => ({ value, millis: Duration.toMillis(duration) }))

/** The wait for one turn. */
const assertOneTurn = (wait: number) => {
  assert.isAbove(wait, 50_000)
  assert.isAtMost(wait, 60_000)
}

describe("rates of accounts over Redis", () => {
  it.live("let two installations take their turns from one bucket, each account from its own", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const [one, two] = [yield* joined(redis.url), yield* joined(redis.url)]
      assert.deepStrictEqual([yield* one.take(), yield* two.take()], [0, 0])
      for (const each of [one, two]) assertOneTurn(yield* each.take())
      assert.strictEqual(yield* two.take("628999@s.whatsapp.net"), 0)
      const daily = parsePacing("50/day")!
      for (let n = 0; n < 5; n++) assert.strictEqual(yield* one.take(account, daily), 0, "a cap alone shares nothing")
      yield* one.giveBack
      assert.strictEqual(yield* two.take(), 0, "what was given back is the other's")
      assertOneTurn(yield* one.take())
    }))

  it.live("can be read without taking a turn or changing the wait of others", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const [one, two] = [yield* joined(redis.url), yield* joined(redis.url)]
      for (let n = 0; n < 5; n++) assert.strictEqual(yield* one.wait(), 0)
      assert.deepStrictEqual([yield* one.take(), yield* two.take()], [0, 0])
      for (const each of [one, two]) assertOneTurn(yield* each.wait())
      // By a pacing whose bucket is smaller, the other one's would look nearly full.
      assert.isAtMost(yield* two.wait(parsePacing("60/min")!), 1000)
      assertOneTurn(yield* one.wait())
    }))

  it.live("refill a bucket by the clock of Redis, at its rate", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const { take } = yield* joined(redis.url)
      const fast = parsePacing("5/s")!
      assert.strictEqual(yield* take(account, fast), 0)
      const wait = yield* take(account, fast)
      assert.isAbove(wait, 0)
      assert.isAtMost(wait, 200)
      yield* until("the turn has come", Effect.map(take(account, fast), (left) => left === 0))
    }))

  it.live("give a machine with a wrong clock no extra turn, and stop nobody when the clock of Redis is set back", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const { take } = yield* joined(redis.url)
      const hour = 3_600_000
      const clock = yield* Clock.Clock
      yield* take()
      yield* take()
      for (const step of [hour, -hour]) {
        const stepped: Clock.Clock = Object.assign(Object.create(clock), {
          currentTimeMillisUnsafe: () => clock.currentTimeMillisUnsafe() + step,
          currentTimeMillis: Effect.map(clock.currentTimeMillis, (now) => now + step)
        })
        assertOneTurn(yield* Effect.provideService(take(), Clock.Clock, stepped))
      }
      // The bucket after Redis's clock was set back by an hour.
      const client = yield* operator(redis.url)
      const key = `columba:pacing:${digest(account)}`
      const full = Number(yield* Effect.promise(() => client.get(key)))
      yield* Effect.promise(() => client.set(key, String(full + hour)))
      assertOneTurn(yield* take())
      const left = Number(yield* Effect.promise(() => client.get(key)))
      assert.isAtMost(left, full + 60_000, "the wait ends without anybody's help")
    }))

  it.live("have full buckets in a Redis that was flushed, and are shared as before", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const { isShared, take } = yield* joined(redis.url)
      for (let n = 0; n < 3; n++) yield* take()
      const client = yield* operator(redis.url)
      yield* Effect.promise(async () => {
        await client.flushAll()
        await client.scriptFlush()
      })
      assert.deepStrictEqual([yield* take(), yield* take()], [0, 0])
      assertOneTurn(yield* take())
      assert.isTrue(yield* isShared)
    }))

  it.live("wait for no Redis that hangs or is down, and show it as unreachable until it is back", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const { detail, isShared, take } = yield* joined(redis.url)
      for (let n = 0; n < 2; n++) yield* take()
      assertOneTurn(yield* take())

      yield* redis.freeze
      assert.isBelow((yield* timed(Effect.all([take(), take(), take()]))).millis, 1000)
      assert.include(yield* detail, "no answer within 300 millis; this installation keeps to its own pacing")
      assert.strictEqual((yield* Metric.value(Metrics.redisConnected)).value, 0)
      const many = yield* timed(Effect.all(Array.from({ length: 1000 }, () => take())))
      assert.deepStrictEqual(new Set(many.value), new Set([0]))
      assert.isBelow(many.millis, 1000, "a Redis that does not answer is not asked")
      yield* redis.thaw
      yield* until("Redis is asked again", isShared, "30 seconds")
      assert.strictEqual((yield* Metric.value(Metrics.redisConnected)).value, 1)

      yield* redis.kill
      yield* until("the loss is noticed", Effect.map(isShared, (shared) => !shared), "30 seconds")
      assert.strictEqual(yield* take(), 0)
      yield* redis.start
      yield* until("the new Redis is asked", isShared, "30 seconds")
    }))

  it.live("delay neither start nor stop if Redis is suspended, or was never there", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const scope = yield* Scope.make()
      const { take } = yield* Scope.provide(joined(redis.url), scope)
      yield* redis.freeze
      yield* Effect.forkChild(take(), { startImmediately: true })
      assert.isBelow((yield* timed(Scope.close(scope, Exit.void))).millis, 2000)
      for (const url of [redis.url, "redis://127.0.0.1:1"]) {
        const { millis, value } = yield* timed(Effect.scoped(Effect.flatMap(join(url), (each) => each.take())))
        assert.strictEqual(value, 0)
        assert.isBelow(millis, 2000)
      }
    }))

  it.live("report a password that Redis refuses, and show it nowhere", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const client = yield* operator(redis.url)
      yield* Effect.promise(() => client.configSet("requirepass", "correct"))
      const lines: Array<string> = []
      const capture = Logger.layer([Logger.map(Logger.formatJson, (line) => lines.push(line))])
      yield* Effect.gen(function*() {
        const refused = yield* join(redis.url.replace("//", "//:hunter2@"))
        yield* until("Redis has refused", Effect.map(refused.detail, (text) => text.includes("WRONGPASS")))
        assert.notInclude(yield* refused.detail, "hunter2")
        assert.strictEqual(yield* refused.take(), 0)
        yield* joined(redis.url.replace("//", "//:correct@"))
      }).pipe(Effect.provide(capture))
      assert.include(lines.join(), "WRONGPASS")
      assert.notInclude(lines.join(), "hunter2")
      assert.notInclude(lines.join(), "correct@")
    }))
})
