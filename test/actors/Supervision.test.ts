import { assert, describe, it } from "@effect/vitest"
import { reconnectDelay } from "../../src/actors/Supervision.ts"

describe("the delay before a device retries", () => {
  it("is at most half a second after the first failure, then doubles, up to half a minute", () => {
    const longest = [1, 2, 3, 4, 5, 6, 7, 8, 2_000].map((failures) => reconnectDelay(failures, 1))
    assert.deepStrictEqual(longest, [500, 1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000])
  })

  it("is random between zero and that maximum", () => {
    assert.deepStrictEqual([0, 0.25, 0.5].map((chance) => reconnectDelay(2, chance)), [0, 250, 500])
  })
})
