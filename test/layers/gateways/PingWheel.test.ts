import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { PingWheel, type WheelMember } from "../../../src/layers/gateways/PingWheel.ts"

const options = { turn: 1000, slots: 10, missesMax: 2 }

const member = (answers: boolean, paused = false) => {
  const made = {
    wheelSlot: -1,
    wheelIndex: -1,
    misses: 0,
    paused,
    pings: 0,
    dead: 0,
    sendPing: () => {
      made.pings++
      if (answers) made.misses = 0
    },
    onDead: () => {
      made.dead++
    }
  }
  return made satisfies WheelMember
}

describe("the ping wheel", () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  it("pings every member once per turn, spread over the turn", () => {
    const wheel = new PingWheel(options)
    const members = Array.from({ length: 30 }, () => member(true))
    for (const one of members) wheel.add(one)
    vi.advanceTimersByTime(500)
    assert.strictEqual(members.filter(({ pings }) => pings === 1).length, 15)
    vi.advanceTimersByTime(9500)
    for (const { dead, pings } of members) assert.deepStrictEqual({ dead, pings }, { dead: 0, pings: 10 })
  })

  it("drops a member that misses two pongs, once", () => {
    const wheel = new PingWheel(options)
    const silent = member(false)
    const healthy = member(true)
    wheel.add(silent)
    wheel.add(healthy)
    vi.advanceTimersByTime(2000)
    assert.deepStrictEqual([silent.pings, silent.dead], [2, 0])
    vi.advanceTimersByTime(1000)
    assert.deepStrictEqual([silent.pings, silent.dead], [2, 1])
    vi.advanceTimersByTime(10_000)
    assert.deepStrictEqual([silent.dead, healthy.dead, wheel.size], [1, 0, 1])
  })

  it("neither pings nor counts a paused member", () => {
    const wheel = new PingWheel(options)
    const paused = member(false, true)
    wheel.add(paused)
    vi.advanceTimersByTime(60_000)
    assert.deepStrictEqual([paused.pings, paused.dead], [0, 0])
  })

  it("keeps the rest when members leave in any order, also from within a tick", () => {
    const wheel = new PingWheel({ ...options, slots: 1 })
    const members = Array.from({ length: 5 }, () => member(true))
    for (const one of members) wheel.add(one)
    members[0]!.sendPing = () => {
      wheel.remove(members[0]!)
      wheel.remove(members[4]!)
    }
    vi.advanceTimersByTime(1000)
    vi.advanceTimersByTime(1000)
    assert.deepStrictEqual(members.slice(1, 4).map(({ pings }) => pings), [2, 2, 2])
    assert.strictEqual(wheel.size, 3)
  })

  it("has no timer while it has no members", () => {
    const wheel = new PingWheel(options)
    const one = member(true)
    wheel.add(one)
    assert.strictEqual(vi.getTimerCount(), 1)
    wheel.remove(one)
    wheel.remove(one)
    assert.strictEqual(vi.getTimerCount(), 0)
  })
})
