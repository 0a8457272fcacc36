/** The settings of automatic replies over HTTP: who may change them, and which values are accepted. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { ask, startServer } from "../support/surface.ts"

describe("the settings of automatic replies over HTTP", () => {
  it.live("are read with the scope read and changed with manage, within bounds, for existing devices only", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer({
        keys: [["admin", ["read", "manage"], "admin-key-0123456789"], ["reader", ["read"], "reader-key-0123456789"]]
      })
      const { id } = yield* Effect.provideContext(
        Effect.flatMap(DeviceManager, (manager) => Effect.orDie(manager.register({ name: "desk" }))),
        services
      )
      const call = (method: string, json: object | undefined, key: string, device: DeviceId = id) =>
        ask(`${url}/api/v1/devices/${device}/auto-reply`, {
          method,
          ...(json === undefined ? {} : { json }),
          headers: { authorization: `Bearer ${key}-key-0123456789` }
        })
      assert.deepInclude((yield* call("GET", undefined, "reader")).body, {
        deviceId: id,
        enabled: false,
        updatedAt: null
      })
      assert.strictEqual((yield* call("PATCH", { enabled: true }, "reader")).status, 403)
      const changed = yield* call("PATCH", { enabled: true, prompt: "Be brief.", window: 0 }, "admin")
      assert.strictEqual(changed.status, 200)
      assert.deepInclude(changed.body, { enabled: true, prompt: "Be brief.", window: 0, dailyLimit: 50 })
      assert.deepStrictEqual((yield* call("GET", undefined, "reader")).body, changed.body)
      const wrong = [{ enabled: "yes" }, { window: 51 }, { window: -1 }, { dailyLimit: 0 }, {
        prompt: "x".repeat(8_001)
      }, { x: 1 }]
      for (const json of wrong) {
        assert.strictEqual((yield* call("PATCH", json, "admin")).status, 400, JSON.stringify(json).slice(0, 40))
      }
      const absent = `dev_${"0".repeat(25)}1` as DeviceId
      assert.strictEqual((yield* call("GET", undefined, "admin", absent)).status, 404)
      assert.strictEqual((yield* call("PATCH", { enabled: true }, "admin", absent)).status, 404)
    }))
})
