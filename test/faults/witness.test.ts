/** What the record of sockets proves, on invented records. */
import { assert, describe, it } from "@effect/vitest"
import { dark, doubled, holderAt, quantiles, timelines } from "../../faults/witness.ts"
import type { SocketChange } from "../../src/simulator/SocketRecord.ts"

const opened = (socket: number, at: string, time: number): SocketChange => ({
  n: 0,
  socket,
  device: "slot-1",
  at,
  open: true,
  time
})
const closed = (socket: number, at: string, time: number): SocketChange => ({
  ...opened(socket, at, time),
  open: false
})

const all = { from: 0, to: 1000 }

const read = (changes: ReadonlyArray<SocketChange>, frozen: ReadonlyArray<readonly [number, number]> = []) =>
  timelines(changes, frozen.map(([from, to]) => ({ at: "one", from, to }))).get("slot-1")!

describe("the witness of the sockets", () => {
  it("finds the times in which no node had a socket of a device, including those before its first and after its last", () => {
    const timeline = read([opened(1, "one", 100), closed(1, "one", 300), opened(2, "two", 400), closed(2, "two", 900)])
    assert.deepStrictEqual(dark(timeline, all), [{ from: 0, to: 100 }, { from: 300, to: 400 }, { from: 900, to: 1000 }])
    assert.deepStrictEqual(dark(timeline, { from: 350, to: 600 }), [{ from: 350, to: 400 }])
    assert.deepStrictEqual(doubled(timeline, all), [])
  })

  it("counts no dark time but two sockets if a new socket opens before the old one ends", () => {
    const timeline = read([opened(1, "one", 0), opened(2, "two", 300), closed(1, "one", 350)])
    assert.deepStrictEqual(dark(timeline, all), [])
    assert.deepStrictEqual(doubled(timeline, all), [{ from: 300, to: 350 }])
    assert.deepStrictEqual([holderAt(timeline, 299), holderAt(timeline, 300), holderAt(timeline, 999)], [
      "one",
      "two",
      "two"
    ])
  })

  it("counts the sockets of a suspended node as deaf until it resumes", () => {
    const timeline = read([opened(1, "one", 0), opened(2, "two", 500), closed(1, "one", 800)], [[200, 700]])
    assert.deepStrictEqual(dark(timeline, all), [{ from: 200, to: 500 }])
    assert.deepStrictEqual(doubled(timeline, all), [{ from: 700, to: 800 }])
  })

  it("counts two sockets at one node as two", () => {
    const timeline = read([opened(1, "one", 0), opened(2, "one", 10), closed(1, "one", 40)])
    assert.deepStrictEqual(doubled(timeline, all), [{ from: 10, to: 40 }])
  })

  it("returns quantiles that were measured", () => {
    const values = Array.from({ length: 200 }, (_, index) => index + 1)
    assert.deepStrictEqual(quantiles(values), { count: 200, p50: 100, p99: 198, max: 200 })
    assert.deepStrictEqual(quantiles([]), { count: 0, p50: 0, p99: 0, max: 0 })
  })
})
