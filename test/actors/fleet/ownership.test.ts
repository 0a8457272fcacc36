/** Two fleets on one database, as after a lock that failed: the one that claimed last continues, the other one stops. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import { BenchTables, device, deviceId, FleetBench, layerOn, pass, settle, until } from "../../support/fleetBench.ts"

const one = deviceId(1)

const fleetOn = (tables: BenchTables) =>
  Effect.map(Layer.build(Layer.fresh(layerOn(tables))), (context) => Context.get(context, FleetBench))

describe("a device that another fleet has claimed", () => {
  it.effect("is abandoned by the older actor at its next decision, which closes the session and records nothing more", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const older = yield* fleetOn(tables)
      yield* pass("2 seconds")
      assert.strictEqual(older.gateway.live(one).length, 1)
      const newer = yield* fleetOn(tables)
      yield* pass("2 seconds")
      assert.strictEqual(newer.gateway.live(one).length, 1)
      const written = tables.transitions(one).length
      older.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
      yield* until("the older session is closed", () => older.gateway.live(one).length === 0)
      yield* settle
      assert.strictEqual(tables.transitions(one).length, written)
      assert.isNull(yield* older.fleet.view(one))
      assert.strictEqual((yield* older.fleet.counts).Inactive, 0)
      assert.strictEqual((yield* newer.fleet.view(one))?.state._tag, "Online")
    })))

  it.effect("is not claimed back: the newer fleet keeps it, whatever the older one compares", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1), device(2)])
      const older = yield* fleetOn(tables)
      yield* pass("2 seconds")
      const newer = yield* fleetOn(tables)
      yield* pass("2 seconds")
      older.gateway.live(one)[0]!.lose("transport")
      yield* settle
      const epoch = tables.epochs.get(one)
      yield* older.fleet.reconcile
      yield* pass("1 minute")
      assert.strictEqual(tables.epochs.get(one), epoch)
      assert.strictEqual(older.gateway.live(one).length, 0)
      assert.strictEqual(newer.gateway.live(one).length, 1)
      assert.strictEqual(older.gateway.live(deviceId(2)).length, 1, "of a device at rest it learns later")
    })))

  it.effect("is not recorded as stopped by the older fleet when that ends", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      yield* Effect.scoped(Effect.gen(function*() {
        yield* fleetOn(tables)
        yield* pass("2 seconds")
        tables.epochs.set(one, 99)
      }))
      assert.strictEqual(tables.readState(one), "Online")
    })))
})

describe("a claim that timed out because its answer did not come", () => {
  it.effect("costs the fleet no device if it is carried out after the claim that followed it", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const late: Array<Effect.Effect<unknown>> = []
      tables.claiming = (claim) =>
        late.length > 0 ? claim : Effect.suspend(() => {
          late.push(claim)
          return Effect.fail(StorageUnavailable.of("claim devices", "no answer"))
        })
      const { fleet, gateway } = yield* fleetOn(tables)
      yield* pass("10 seconds")
      assert.strictEqual((yield* fleet.view(one))?.state._tag, "Online")
      yield* late[0]!
      gateway.live(one)[0]!.lose("transport")
      yield* pass("30 seconds")
      assert.strictEqual((yield* fleet.view(one))?.state._tag, "Online")
      assert.strictEqual(gateway.live(one).length, 1)
      assert.strictEqual(tables.epochs.get(one), 3)
    })))
})

describe("changes of desired state", () => {
  it.effect("are read for the devices that notifications name; the whole table at start and now and then", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1), device(2)])
      const bench = yield* fleetOn(tables)
      yield* pass("2 seconds")
      assert.deepStrictEqual(tables.readings, [undefined])
      tables.desired = [device(1), device(2, { active: false }), device(3)]
      yield* bench.announce(deviceId(2))
      yield* bench.announce(deviceId(3))
      yield* bench.announce(deviceId(3))
      yield* pass("2 seconds")
      assert.deepStrictEqual(tables.readings.slice(1).flat(), [deviceId(2), deviceId(3)])
      assert.deepStrictEqual(
        [1, 2, 3].map((n) => bench.gateway.live(deviceId(n)).length),
        [1, 0, 1]
      )
      yield* bench.announce(null)
      yield* pass("2 seconds")
      assert.isUndefined(tables.readings.at(-1))
      const read = tables.readings.length
      yield* pass("4 minutes", "10 seconds")
      assert.strictEqual(tables.readings.length, read + 1)
    })))

  it.effect("stop a device whose row was deleted", () =>
    Effect.scoped(Effect.gen(function*() {
      const tables = new BenchTables([device(1), device(2)])
      const bench = yield* fleetOn(tables)
      yield* pass("2 seconds")
      tables.desired = [device(2)]
      yield* bench.announce(one)
      yield* pass("2 seconds")
      assert.strictEqual(bench.gateway.live(one).length, 0)
      assert.strictEqual(bench.gateway.live(deviceId(2)).length, 1)
    })))
})
