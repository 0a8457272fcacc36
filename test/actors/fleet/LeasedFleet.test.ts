/** The fleet runs as long as its process holds the lease. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Layer } from "effect"
import * as LeasedFleet from "../../../src/actors/fleet/LeasedFleet.ts"
import * as LocalFleet from "../../../src/actors/fleet/LocalFleet.ts"
import { DeviceFleet } from "../../../src/services/DeviceFleet.ts"
import { FleetLease, LeaseTaken } from "../../../src/services/FleetLease.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { BenchTables, device, deviceId, FleetBench, layerOn, pass, settle } from "../../support/fleetBench.ts"

const one = deviceId(1)

/** The leased fleet, with a lease that the test grants and revokes. */
const fleetUnder = (lease: ReturnType<FleetLease["Service"]["acquire"]>) =>
  Layer.effect(
    DeviceFleet,
    Effect.gen(function*() {
      const leased = LeasedFleet.make()
      assert.isNull(yield* leased.fleet.view(one), "before it is started it answers for no device")
      const { acquire } = yield* FleetLease
      yield* leased.start(yield* acquire("alone"), LocalFleet.layer)
      return leased.fleet
    })
  ).pipe(Layer.orDie, Layer.provide(Layer.succeed(FleetLease, FleetLease.of({ acquire: () => lease }))))

describe("a fleet under a lease", () => {
  it.effect("stops when another process has taken the lease: sessions closed, nothing hosted, not ready", () =>
    Effect.gen(function*() {
      const lost = yield* Deferred.make<never, LeaseTaken>()
      const readiness = yield* Readiness
      const layer = layerOn(
        new BenchTables([device(1)]),
        {},
        fleetUnder(Effect.succeed({ lost: Deferred.await(lost) }))
      )
      yield* Effect.gen(function*() {
        const bench = yield* FleetBench
        yield* pass("2 seconds")
        assert.strictEqual((yield* bench.fleet.view(one))?.state._tag, "Online")
        yield* Deferred.fail(lost, LeaseTaken.of("'columba devices other 7'"))
        yield* settle
        assert.deepStrictEqual(bench.gateway.live(), [])
        assert.isNull(yield* bench.fleet.view(one))
        yield* pass("5 minutes", "10 seconds")
        assert.deepStrictEqual(bench.gateway.live(), [], "it does not fight for the devices")
        const check = (yield* readiness.report).find(({ name }) => name === "fleet")
        assert.deepInclude(check, { ready: false })
        assert.include(check?.detail, "other 7")
      }).pipe(Effect.provide(layer), Effect.scoped)
    }).pipe(Effect.provide(Readiness.layer)))

  it.effect("does not start without the lease", () =>
    Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const layer = layerOn(tables, {}, fleetUnder(Effect.fail(LeaseTaken.of("'columba devices other 7'"))))
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      assert.strictEqual(exit._tag, "Failure")
      assert.deepStrictEqual(tables.readings, [])
    }))
})
