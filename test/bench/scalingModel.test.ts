/** The model of docs/scaling.md against known results for queues. */
import { assert, describe, it } from "@effect/vitest"
import { simulate } from "../../bench/support/scalingModel.ts"
import type { Load, ServiceTimes } from "../../bench/support/scalingModel.ts"

const none: ServiceTimes = {
  appendBatch: 0,
  appendEvent: 0,
  flush: 0,
  roundTrip: 0,
  linger: 0,
  nodeBatch: 0,
  nodeEvent: 0,
  relayEvent: 0,
  brokerEvent: 0
}
const load: Load = { nodes: 1, rate: 500, shares: [1], partitions: 1, relays: 1, brokerCores: 1, seconds: 200 }

describe("the model of a cluster", () => {
  it("lets half of the events wait for nothing if a server with constant times is half used", () => {
    const { busy, published } = simulate({ ...none, brokerEvent: 1 }, load, "M/D/1")
    assert.closeTo(busy.broker, 0.5, 0.02)
    assert.closeTo(published.p50, 1, 0.1)
    // The wait of M/D/1 at a use of one half is beyond 3.5 services in one of a hundred cases.
    assert.isAbove(published.p99, 3)
    assert.isBelow(published.p99, 5)
  })

  it("falls behind if a server gets more load than it can handle, and names it", () => {
    const { behindSeconds, busy } = simulate({ ...none, relayEvent: 2.5 }, { ...load, seconds: 20 }, "over")
    assert.isAbove(behindSeconds, 3)
    assert.isAbove(busy.relay, 1)
  })

  it("makes batches as large as the lock is slow, and gets no more from several nodes than the lock allows", () => {
    const slow = { ...none, appendBatch: 10 }
    const one = simulate(slow, { ...load, rate: 1000, seconds: 20 }, "lock")
    assert.closeTo(one.eventsPerBatch, 10, 1)
    const ten = simulate(slow, {
      ...load,
      nodes: 10,
      shares: Array.from({ length: 10 }, () => 0.1),
      rate: 1000,
      seconds: 20
    }, "lock")
    assert.isAbove(ten.busy.lock, 0.95)
    assert.isAbove(ten.stored.p50, one.stored.p50 * 5)
  })
})
