/** The rate of an account over Redis: shared by processes that have nothing else in common, and nothing waits for Redis. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Effect, Layer, Redacted } from "effect"
import { parsePacing } from "../../../src/domain/Pacing.ts"
import * as RedisPacing from "../../../src/layers/redis/RedisPacing.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { SharedPacing } from "../../../src/services/SharedPacing.ts"
import * as RedisServer from "../../support/servers/RedisServer.ts"
import { until } from "../../support/until.ts"

const account = "6281234567890@s.whatsapp.net"
const pacing = parsePacing("1/min, burst 2")!

const join = (url: string) =>
  Effect.map(
    Layer.build(Layer.fresh(RedisPacing.layer(Redacted.make(url)).pipe(Layer.provideMerge(Readiness.layer)))),
    (context) => ({
      take: (name: string, how = pacing) => Context.get(context, SharedPacing).take(name, how),
      detail: Effect.map(
        Context.get(context, Readiness).report,
        (checks) => checks.find(({ name }) => name === "redis")?.detail
      )
    })
  )

describe("rates of accounts over Redis", () => {
  it.live("two installations take their turns from one bucket, each account from its own", () =>
    Effect.gen(function*() {
      const redis = yield* Effect.orDie(RedisServer.make)
      const [one, two] = [yield* join(redis.url), yield* join(redis.url)]
      for (const each of [one, two]) {
        yield* until("Redis is connected", Effect.map(each.detail, (detail) => detail === "rates are shared"))
      }
      assert.deepStrictEqual([yield* one.take(account), yield* two.take(account)], [0, 0])
      for (const each of [one, two]) {
        const wait = yield* each.take(account)
        assert.isAbove(wait, 50_000)
        assert.isAtMost(wait, 60_000)
      }
      assert.strictEqual(yield* two.take("628999@s.whatsapp.net"), 0)
      assert.strictEqual(
        yield* one.take(account, parsePacing("50/day")!),
        0,
        "without a rate there is nothing to share"
      )
    }))

  it.live(
    "a Redis that is away, hangs or was never there holds nothing up, and is said to be away until it is back",
    () =>
      Effect.gen(function*() {
        const redis = yield* Effect.orDie(RedisServer.make)
        const columba = yield* join(redis.url)
        const isShared = Effect.map(columba.detail, (detail) => detail === "rates are shared")
        yield* until("Redis is connected", isShared)
        for (let n = 0; n < 3; n++) yield* columba.take(account)
        const began = yield* Clock.currentTimeMillis
        yield* redis.freeze
        assert.strictEqual(yield* columba.take(account), 0)
        yield* redis.thaw
        yield* redis.kill
        assert.strictEqual(yield* columba.take(account), 0)
        assert.isBelow((yield* Clock.currentTimeMillis) - began, 5000)
        assert.isFalse(yield* isShared)
        yield* redis.start
        yield* until(
          "Redis is asked again",
          Effect.andThen(columba.take("628777@s.whatsapp.net"), isShared),
          "30 seconds"
        )
        const nowhere = yield* join("redis://127.0.0.1:1")
        assert.strictEqual(yield* nowhere.take(account), 0)
        assert.include(yield* nowhere.detail, "no answer")
      }),
    60_000
  )
})
