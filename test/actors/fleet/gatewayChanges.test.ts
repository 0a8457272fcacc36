/** Gateways are added, changed and removed while their devices run. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Result } from "effect"
import { GatewayUnknown } from "../../../src/domain/DeviceErrors.ts"
import { GatewayUnusable } from "../../../src/domain/GatewayErrors.ts"
import type { GatewayName } from "../../../src/domain/Ids.ts"
import { BenchTables, device, deviceId, FleetBench, layer, layerOn, pass } from "../../support/fleetBench.ts"

const one = deviceId(1)
const within = <A, E>(devices: Parameters<typeof layer>[0], test: Effect.Effect<A, E, FleetBench>) =>
  test.pipe(Effect.provide(layer(devices)), Effect.scoped)

const rules = (bench: FleetBench["Service"]) => bench.transitions(one).map(({ rule }) => rule)

describe("a gateway's devices", () => {
  it.effect("reconnect when its row changes", () =>
    within(
      [device(1), device(2)],
      Effect.gen(function*() {
        const bench = yield* FleetBench
        yield* pass("5 seconds")
        const before = bench.gateway.live()
        assert.lengthOf(before, 2)
        yield* bench.setGateway(Result.succeed(2))
        yield* pass("5 seconds")
        assert.isFalse(before.some(({ open }) => open), "the old sessions are closed")
        assert.lengthOf(bench.gateway.live(), 2)
        assert.include(rules(bench), "gateway-changed")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("stop trying when it is deactivated, report why, and reconnect when it is active again", () =>
    within(
      [device(1)],
      Effect.gen(function*() {
        const bench = yield* FleetBench
        yield* pass("1 second")
        yield* bench.setGateway(Result.fail(GatewayUnusable.of("default", "inactive")))
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Inactive")
        assert.strictEqual(rules(bench).at(-1), "gateway-inactive")
        const attempts = bench.gateway.openedAt.length
        yield* pass("5 minutes")
        assert.strictEqual(bench.gateway.openedAt.length, attempts)
        assert.strictEqual(rules(bench).filter((rule) => rule === "gateway-inactive").length, 1, "recorded once")
        yield* bench.setGateway(Result.succeed(2))
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("do not run if they name none of the gateways, and others do", () =>
    within(
      [device(1, { gateway: "gone" as GatewayName }), device(2)],
      Effect.gen(function*() {
        const bench = yield* FleetBench
        yield* pass("1 minute")
        assert.strictEqual(rules(bench).join(), "gateway-unknown")
        assert.strictEqual(bench.readState(deviceId(2)), "Online")
      })
    ))

  it.effect("start when their gateway is added to a fleet without gateways", () =>
    within(
      [device(1)],
      Effect.gen(function*() {
        const bench = yield* FleetBench
        yield* bench.setGateway(Result.fail(GatewayUnknown.of("default", [])))
        yield* pass("1 minute")
        assert.strictEqual(bench.gateway.live().length, 0)
        yield* bench.setGateway(Result.succeed(2))
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Online")
      })
    ))

  it.effect("are recorded as not running once, over all starts of the fleet, if they cannot be used", () =>
    Effect.gen(function*() {
      const tables = new BenchTables([device(1)])
      const runs = (work: (bench: FleetBench["Service"]) => Effect.Effect<void>) =>
        Effect.flatMap(FleetBench, work).pipe(Effect.provide(Layer.fresh(layerOn(tables))), Effect.scoped)
      yield* runs(() => pass("1 second"))
      const without = runs((bench) =>
        Effect.andThen(bench.setGateway(Result.fail(GatewayUnusable.of("default", "no-simulator"))), pass("1 minute"))
      )
      yield* without
      const recorded = tables.transitions(one).map(({ rule }) => rule)
      assert.strictEqual(recorded.at(-1), "simulator-not-running")
      yield* without
      yield* without
      assert.deepStrictEqual(tables.transitions(one).map(({ rule }) => rule), recorded)
    }))
})
