/** The fleet of one node of a cluster, over tables that several share. Its shards and entities come and go as a test says. */
import { Context, Duration, Effect, Layer } from "effect"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import { Placement } from "../../src/actors/fleet/Placement.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { Successors } from "../../src/services/Successors.ts"
import { FleetBench, layerOn } from "./fleetBench.ts"
import type { BenchTables } from "./fleetBench.ts"

export const reclaimAfter = Duration.seconds(20)

/** A node that has the shards of these devices from the beginning. When its scope closes it is alone, unless others are to `take` them. */
export const nodeOn = Effect.fnUntraced(function*(tables: BenchTables, devices: ReadonlyArray<DeviceId>, take = false) {
  const owned = new Set(devices)
  const held = new Set<DeviceId>()
  const around = { passesOn: true, successors: true }
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
    passesOn: () => around.passesOn
  }
  const fleet = Layer.effect(
    DeviceFleet,
    Effect.map(Effect.provideService(LocalFleet.make, Placement, placement), (made) => {
      hosted = made
      return made.fleet
    })
  ).pipe(
    Layer.provide(LocalFleet.layerHosts),
    Layer.provide(Layer.succeed(Successors, Effect.sync(() => around.successors)))
  )
  const bench = Context.get(yield* Layer.build(Layer.fresh(layerOn(tables, {}, fleet))), FleetBench)
  // The test is over: no process claims the remaining devices.
  if (!take) yield* Effect.addFinalizer(() => Effect.sync(() => void (around.successors = false)))
  return {
    /** Whether devices that leave are taken by others, and whether others are there. */
    around,
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
      }),
    close: Effect.suspend(() => hosted!.close)
  }
})
