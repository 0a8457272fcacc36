/** The history of figures on the fleet's page: bounded, and without a line where nothing was read. */
import { assert, describe, it } from "@effect/vitest"
import type { Overview } from "../../src/contracts/ServerPayloads.ts"
import {
  addReading,
  ratesOf,
  readingMillis,
  readingsKept,
  seriesOf,
  stretchesOf
} from "../../src/dashboard/fleet/FleetHistory.ts"
import type { Reading } from "../../src/dashboard/fleet/FleetHistory.ts"

const overview = (head: number | null, online = 1): Overview => ({
  at: "2026-01-01T00:00:00.000Z",
  head,
  states: { Online: online },
  openGaps: [],
  sinks: [{ sink: "rabbitmq", state: "running", confirmed: 0, lag: online, expired: 0, failure: null }],
  incidents: []
} as unknown as Overview)

const read = (times: ReadonlyArray<readonly [at: number, head: number | null]>) =>
  times.reduce<ReadonlyArray<Reading>>((history, [at, head]) => addReading(history, overview(head), at), [])

describe("the history of the fleet's figures", () => {
  it("keeps an hour, however long the page is open and however often it reads", () => {
    const readings = Array.from({ length: 5 * readingsKept + 50 }, (_, n) => [n * readingMillis / 5, n] as const)
    const history = read([...readings, ...readings.map(([at, n]) => [at + readings.length * 2000, n] as const)])
    assert.strictEqual(history.length, readingsKept)
    const times = history.map(({ at }) => at)
    assert.strictEqual(times.at(-1)! - times[0]!, (readingsKept - 1) * readingMillis)
  })

  it("has a rate between readings, and none if the log was reset, unavailable or not read", () => {
    const history = read([[0, 0], [10_000, 50], [20_000, 10], [30_000, null], [40_000, 30], [100_000, 90], [
      110_000,
      190
    ]])
    assert.deepStrictEqual(ratesOf(history), [{ at: 10_000, value: 5 }, { at: 110_000, value: 10 }])
  })

  it("draws no line over a time without readings", () => {
    const history = read([[0, 1], [10_000, 1], [90_000, 1], [100_000, 1]])
    const points = seriesOf(history, ({ lags }) => lags["rabbitmq"])
    assert.deepStrictEqual(stretchesOf(points).map((stretch) => stretch.map(({ at }) => at)), [
      [0, 10_000],
      [90_000, 100_000]
    ])
  })

  it("starts anew when the clock of the machine is set back", () => {
    assert.deepStrictEqual(read([[50_000, 1], [60_000, 2], [20_000, 3]]).map(({ at }) => at), [20_000])
  })
})
