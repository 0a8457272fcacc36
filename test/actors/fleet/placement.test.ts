/** The fleet of a node: it runs the devices of its placement, from the moment it holds them until it releases them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { BenchTables, device, deviceId, pass, settle } from "../../support/fleetBench.ts"
import { nodeOn, reclaimAfter } from "../../support/nodeFleet.ts"

const [one, two] = [deviceId(1), deviceId(2)]

describe("the fleet of a node", () => {
  it.effect("runs the devices of its shards, claims no other, and starts those that arrive", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1), device(2)])
      const node = yield* nodeOn(tables, [one])
      yield* pass("2 seconds")
      assert.deepStrictEqual(node.bench.gateway.live().map(({ deviceId }) => deviceId), [one])
      assert.isUndefined(tables.epochs.get(two))
      node.gain(two)
      yield* pass("2 seconds")
      assert.strictEqual(node.bench.readState(two), "Online")
    })))

  it.effect("does not record an inactive device of another node", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1, { active: false })])
      tables.shown.set(one, "Online")
      yield* nodeOn(tables, [])
      yield* pass("5 seconds")
      assert.deepStrictEqual(tables.transitions(one), [])
    })))

  it.effect("claims a device again that an earlier owner claimed late, after the time in which that owner notices", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const node = yield* nodeOn(tables, [one])
      yield* pass("2 seconds")
      // The claim of the earlier owner is carried out only now.
      tables.epochs.set(one, 2)
      tables.owners.set(one, "another node")
      node.bench.gateway.live(one)[0]!.lose("transport")
      yield* settle
      yield* pass("5 seconds")
      assert.deepStrictEqual(node.bench.gateway.live(), [])
      yield* pass(reclaimAfter)
      yield* pass("5 seconds")
      assert.strictEqual(tables.epochs.get(one), 3)
      assert.strictEqual(node.bench.gateway.live(one).length, 1)
    })))
})
