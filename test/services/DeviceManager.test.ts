/** The logic behind the operations on devices, beyond the tests of the HTTP and RPC surface. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { GatewayUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { GatewayName } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import { ScriptedGateway } from "../support/scriptedGateway.ts"
import { makeScript, services } from "../support/surface.ts"

const named = (...names: ReadonlyArray<string>) =>
  GatewayDirectory.layerFixed(
    names.map((name) => Object.assign(new ScriptedGateway(), { name: name as GatewayName }))
  )

const withGateways = (...names: ReadonlyArray<string>) =>
  Layer.fresh(DeviceManager.layer).pipe(Layer.provide(named(...names)), Layer.provide(services()))

describe("the device manager", () => {
  it.effect("creates ids that sort by age and never repeat", () =>
    Effect.gen(function*() {
      const manager = yield* DeviceManager
      const ids: Array<string> = []
      for (let index = 0; index < 50; index++) {
        ids.push((yield* manager.register({ name: "a" })).id)
        yield* TestClock.adjust("1 millis")
      }
      assert.strictEqual(new Set(ids).size, 50)
      assert.deepStrictEqual([...ids].sort(), ids)
    }).pipe(Effect.provide(services())))

  it.effect("uses the only gateway if none is named, the default of several, and else requires a name", () =>
    Effect.gen(function*() {
      const choose = (...names: ReadonlyArray<string>) =>
        Effect.flatMap(DeviceManager, (manager) => manager.register({ name: "a" })).pipe(
          Effect.map(({ gateway }) => gateway as string),
          Effect.catchTag("GatewayUnknown", ({ known }) => Effect.succeed(known.join())),
          Effect.provide(Layer.fresh(withGateways(...names)))
        )
      assert.strictEqual(yield* choose("only"), "only")
      assert.strictEqual(yield* choose("other", "default"), "default")
      assert.strictEqual(yield* choose("a", "b"), "a,b")
    }))

  it.effect("does not store a device when its slot cannot be created", () => {
    const script = makeScript()
    Object.assign(script.gateway, {
      ensureSlot: () => Effect.fail(GatewayUnavailable.of("default", "create the slot", "no answer"))
    })
    return Effect.gen(function*() {
      const manager = yield* DeviceManager
      assert.strictEqual((yield* Effect.flip(manager.register({ name: "a" })))._tag, "GatewayUnavailable")
      assert.deepStrictEqual((yield* manager.list({ limit: 10 })).items, [])
    }).pipe(Effect.provide(services({ script })))
  })

  it.effect("changes desired state once per command", () =>
    Effect.gen(function*() {
      const manager = yield* DeviceManager
      const devices = yield* DeviceRepository
      const { id } = yield* manager.register({ name: "a" })
      yield* manager.reconnect(id)
      yield* manager.reconnect(id)
      yield* Effect.flip(manager.release(id))
      const [desired] = yield* devices.desired()
      assert.deepInclude(desired, { id, active: true, reconnectRequests: 2, releaseRequests: 0 })
    }).pipe(Effect.provide(services())))
})
