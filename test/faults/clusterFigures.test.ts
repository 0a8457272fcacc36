/** The figures of a row with several nodes, on invented records. */
import { assert, describe, it } from "@effect/vitest"
import type { Repetition } from "../../faults/cluster/Cluster.ts"
import { findFigures } from "../../faults/cluster/figures.ts"
import type { SocketChange } from "../../src/simulator/SocketRecord.ts"

/** Device, address, from and to; without an end it stays open. */
type Socket = readonly [device: string, at: string, from: number, to?: number]

const record = (sockets: ReadonlyArray<Socket>): ReadonlyArray<SocketChange> =>
  sockets.flatMap(([device, at, from, to], socket) => [
    { n: 0, socket, device, at, open: true, time: from },
    ...(to === undefined ? [] : [{ n: 0, socket, device, at, open: false, time: to }])
  ])

const figures = (
  repetitions: ReadonlyArray<Repetition>,
  sockets: ReadonlyArray<Socket>,
  more: Partial<Parameters<typeof findFigures>[0]> = {}
) =>
  findFigures({
    settings: { nodes: 2, lease: "6 seconds", partition: "proxy" },
    devices: 2,
    bySocket: true,
    repetitions,
    changes: record(sockets),
    pauses: [],
    unreturned: [],
    audit: { tried: 3, landed: [] },
    sends: null,
    ...more
  })

const at = (fault: Repetition["fault"]): Repetition => ({
  fault,
  at: "one",
  struckAt: 1000,
  healedAt: 9000,
  endedAt: 20_000
})

describe("the figures of a cluster", () => {
  it("count a kill as silence of the devices of one node until another node has the last of them", () => {
    const found = figures([at("kill node")], [
      ["slot-1", "one", 0, 1010],
      ["slot-1", "two", 7000],
      ["slot-2", "one", 0, 1020],
      ["slot-2", "two", 8020],
      ["slot-3", "two", 0]
    ])
    assert.deepStrictEqual(found.back, { count: 1, p50: 7020, p99: 7020, max: 7020 })
    assert.deepStrictEqual([found.dark.count, found.dark.p50, found.dark.max], [2, 5990, 7000])
    assert.strictEqual(found.moved.count, 0)
    assert.strictEqual(found.doubled.count, 0)
  })

  it("count a device that moves to a new node as dark between its sockets, or never if the new socket is first", () => {
    const found = figures([at("kill node")], [
      ["slot-1", "two", 0, 12_000],
      ["slot-1", "one", 12_300],
      ["slot-2", "two", 0, 12_100],
      ["slot-2", "one", 12_000]
    ])
    assert.deepStrictEqual([found.moved.count, found.moved.p50, found.moved.max], [2, 0, 300])
    assert.deepStrictEqual(found.doubledAfter, { count: 1, p50: 100, p99: 100, max: 100 })
    assert.strictEqual(found.back.max, 0)
  })

  it("count the moves of a node that leaves in order as planned", () => {
    const sockets: ReadonlyArray<Socket> = [["slot-1", "one", 0, 1500], ["slot-1", "two", 1900]]
    assert.strictEqual(figures([at("stop node")], sockets).moved.max, 400)
    assert.strictEqual(figures([at("kill node")], sockets).moved.count, 0)
  })

  it("count the sockets of a suspended node as deaf until it resumes, and then two until one notices", () => {
    const found = figures(
      [at("freeze node")],
      [["slot-1", "one", 0, 9400], ["slot-1", "two", 8000]],
      { pauses: [{ at: "one", from: 1000, to: 9000 }] }
    )
    assert.deepStrictEqual([found.dark.max, found.doubled.max, found.doubledAfter.max], [7000, 0, 400])
  })

  it("use only the nodes' reports if there is no socket per device", () => {
    const found = figures([at("kill node")], [], { bySocket: false })
    assert.deepStrictEqual([found.back.max, found.dark.count], [8000, 0])
  })
})
