/** Converts an amount of running time before now, as a process reports it, into a moment of real time. */
import { assert, describe, it } from "@effect/vitest"
import { RunningTime } from "../../../src/actors/fleet/RunningTime.ts"

/** Ticks every second in these intervals, ends included. */
const running = (...intervals: ReadonlyArray<readonly [from: number, to: number]>): RunningTime => {
  const time = new RunningTime(intervals[0]![0] * 1000)
  for (const [from, to] of intervals) for (let second = from; second <= to; second++) time.tick(second * 1000)
  return time
}

describe("running time", () => {
  it("is the time that has passed while the process runs", () => {
    assert.strictEqual(running([0, 100]).before(100_500, 30_000), 70_500)
  })

  it("excludes a suspension of the process, from the last moment in which it ran", () => {
    const time = running([0, 100], [300, 310])
    assert.strictEqual(time.before(310_000, 30_000), 80_000)
    assert.strictEqual(time.before(310_000, 5000), 305_000)
  })

  it("excludes a suspension before the process has looked at the clock again", () => {
    assert.strictEqual(running([0, 100]).before(300_000, 30_000), 70_000)
  })

  it("excludes any number of suspensions", () => {
    assert.strictEqual(running([0, 100], [200, 210], [300, 310]).before(310_000, 30_000), 90_000)
    const often = running(...Array.from({ length: 50 }, (_, index) => [index * 10, index * 10 + 1] as const))
    // It ran for one of ten seconds. The oldest times count as one, which is never too late.
    assert.strictEqual(often.before(491_000, 10_000), 400_000)
    assert.isAtMost(often.before(491_000, 30_000), 200_000)
  })

  it("does not exclude a moment in which the process was busy", () => {
    assert.strictEqual(running([0, 100], [102, 110]).before(110_000, 30_000), 80_000)
  })

  it("returns since when an input may have waited that was read right after a suspension", () => {
    const time = running([0, 100], [300, 310])
    assert.strictEqual(time.waitedSince(300_500, 310_000, 2000), 100_000)
    assert.strictEqual(time.waitedSince(305_000, 310_000, 2000), 305_000, "what waited has been read by then")
    assert.strictEqual(time.waitedSince(99_000, 310_000, 2000), 99_000, "and before it nothing waited")
    const twice = running([0, 100], [200, 201], [300, 310])
    assert.strictEqual(
      twice.waitedSince(300_500, 310_000, 2000),
      100_000,
      "since the first, where it hardly ran between"
    )
    assert.strictEqual(running([0, 100]).waitedSince(299_999, 300_000, 2000), 100_000, "before it has ticked again")
  })
})
