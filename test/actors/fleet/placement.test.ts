/** The fleet of a node: it runs the devices of its placement, from the moment it holds them until it releases them. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Layer } from "effect"
import * as LocalFleet from "../../../src/actors/fleet/LocalFleet.ts"
import { Placement } from "../../../src/actors/fleet/Placement.ts"
import type { DeviceId } from "../../../src/domain/Ids.ts"
import { DeviceFleet } from "../../../src/services/DeviceFleet.ts"
import { BenchTables, device, deviceId, FleetBench, layerOn, pass, settle } from "../../support/fleetBench.ts"

const [one, two] = [deviceId(1), deviceId(2)]
const reclaimAfter = Duration.seconds(20)

/** The cluster, as the fleet of its node sees it. */
const nodeOn = Effect.fnUntraced(function*(tables: BenchTables, owned: Set<DeviceId>) {
  const held = new Set<DeviceId>()
  let hosted: LocalFleet.HostedFleet | undefined
  const placement: Placement = {
    owns: (id) => owned.has(id),
    holds: (id) => held.has(id),
    enter: (ids) =>
      Effect.sync(() => {
        for (const id of ids) {
          held.add(id)
          hosted!.entered(id)
        }
      }),
    reclaimAfter,
    isShared: true,
    passesOn: () => true
  }
  const fleet = Layer.effect(
    DeviceFleet,
    Effect.map(Effect.provideService(LocalFleet.make, Placement, placement), (made) => {
      hosted = made
      return made.fleet
    })
  ).pipe(Layer.provide(LocalFleet.layerHosts))
  const bench = Context.get(yield* Layer.build(Layer.fresh(layerOn(tables, {}, fleet))), FleetBench)
  return {
    bench,
    /** The shard of the device has arrived here. */
    gain: (id: DeviceId) => {
      owned.add(id)
      hosted!.look(null)
    },
    /** The shard of the device is leaving, and its entity closes. */
    lose: (id: DeviceId) =>
      Effect.suspend(() => {
        owned.delete(id)
        held.delete(id)
        return hosted!.leave(id)
      })
  }
})

describe("the fleet of a node", () => {
  it.effect("runs the devices of its shards, claims no other, and starts those that arrive", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1), device(2)])
      const node = yield* nodeOn(tables, new Set([one]))
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
      yield* nodeOn(tables, new Set())
      yield* pass("5 seconds")
      assert.deepStrictEqual(tables.transitions(one), [])
    })))

  it.effect("claims a device again that an earlier owner claimed late, after the time in which that owner notices", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const node = yield* nodeOn(tables, new Set([one]))
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
