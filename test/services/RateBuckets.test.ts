/** Token buckets by name: how much they let through, and how much they hold. */
import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { RateBuckets } from "../../src/services/RateBuckets.ts"

const rate = { perSecond: 10, burst: 20 }

describe("rate buckets", () => {
  it("let a burst through, then the rate, and return when there is room again", () => {
    const buckets = new RateBuckets(10)
    for (let call = 0; call < 20; call++) assert.strictEqual(buckets.take("a", rate, 0), 0)
    assert.strictEqual(buckets.take("a", rate, 0), 100)
    assert.strictEqual(buckets.take("a", rate, 60), 40)
    assert.strictEqual(buckets.take("a", rate, 100), 0)
    assert.isAbove(buckets.take("a", rate, 100), 0)
    assert.strictEqual(buckets.take("b", rate, 100), 0)
  })

  it.prop(
    "never let more through than burst and rate allow, whatever the times are",
    [Schema.Array(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 400 })))],
    ([steps]) => {
      const buckets = new RateBuckets(10)
      let now = 0
      let taken = 0
      for (const step of steps) {
        now += step
        for (let call = 0; call < 30; call++) if (buckets.take("a", rate, now) === 0) taken++
      }
      assert.isAtMost(taken, rate.burst + now / 1000 * rate.perSecond + 1e-6)
    }
  )

  it("hold no more names than allowed, and forget the least recently used", () => {
    const buckets = new RateBuckets(3)
    for (let call = 0; call < 20; call++) buckets.take("busy", rate, 0)
    for (let name = 0; name < 1_000; name++) {
      buckets.take(String(name), rate, 0)
      assert.isAbove(buckets.take("busy", rate, 0), 0)
    }
    assert.strictEqual(buckets.size, 3)
  })
})
