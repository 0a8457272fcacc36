/** The recent number of events per second. */
import { assert, describe, it } from "@effect/vitest"
import { RecentRate } from "../../../src/actors/gateway/RecentRate.ts"

describe("a recent rate", () => {
  it("is the mean of ten seconds, and ends ten seconds after the last count", () => {
    const rate = new RecentRate()
    assert.strictEqual(rate.perSecond(5_000), 0)
    for (let second = 10; second < 25; second++) rate.add(50, second * 1000 + 300)
    assert.strictEqual(rate.perSecond(24_900), 50)
    assert.strictEqual(rate.perSecond(29_500), 25)
    assert.strictEqual(rate.perSecond(34_000), 0)
    rate.add(7, 34_001)
    assert.strictEqual(rate.perSecond(34_002), 0.7)
    // A process that was suspended for long.
    assert.strictEqual(rate.perSecond(9_000_000), 0)
  })
})
