/** Made-up devices and messages stay where they belong: with the built-in simulator, on the embedded database. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import * as TestDatabase from "../support/database.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { runProgram } from "./support/runProgram.ts"
import { until } from "./support/until.ts"

const directory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-demo-"))),
  (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
)

interface DevicePage {
  readonly items: ReadonlyArray<{ readonly gateway: string; readonly state: { readonly _tag: string } }>
}

const listDevices = (columba: ColumbaProcess.ColumbaProcess) =>
  Effect.map(columba.get<DevicePage>("/api/v1/devices"), ({ items }) => items)

describe("demo data", () => {
  it.live("is not made on a real database: without a gateway the program runs with none and says how to set one", () =>
    Effect.gen(function*() {
      const columba = yield* ColumbaProcess.make({
        directory: yield* directory,
        env: { DATABASE_URL: yield* TestDatabase.freshDatabase, COLUMBA_DEMO_DEVICES: "3" }
      })
      yield* columba.start
      assert.deepStrictEqual(yield* listDevices(columba), [])
      const log = yield* columba.log
      assert.include(log, `gateway="none (set WHATSAPP_API_URL, or: columba gateways add)"`)
      assert.include(log, "no gateway is configured, so no device can connect; set WHATSAPP_API_URL")
      assert.strictEqual((yield* columba.terminate).code, 0)
    }))

  it.live("never reaches a gateway that is configured later, and is shown as not running", () =>
    Effect.gen(function*() {
      const cwd = yield* directory
      const demo = yield* ColumbaProcess.make({ directory: cwd, env: { COLUMBA_DEMO_DEVICES: "3" } })
      yield* demo.start
      const [first] = yield* listDevices(demo)
      assert.strictEqual(first?.gateway, "simulator")
      yield* demo.terminate

      const gateway = yield* Effect.orDie(startSimulator({ seed: "real" }))
      const real = yield* ColumbaProcess.make({ directory: cwd, env: { WHATSAPP_API_URL: gateway.url } })
      yield* real.start
      const added = yield* runProgram(["devices", "add", "--name", "Front desk", "--url", real.url], { cwd })
      assert.strictEqual(added.code, 0, added.err)
      assert.strictEqual(gateway.core.devices.size, 1, "the gateway knows the added device alone")
      const states = (yield* listDevices(real)).slice(0, 3).map(({ gateway, state }) => [gateway, state._tag])
      assert.deepStrictEqual(states, [["simulator", "Inactive"], ["simulator", "Inactive"], ["simulator", "Inactive"]])
      assert.include(yield* real.log, "this database holds 3 devices of the built-in simulator. They are not started")

      yield* real.terminate
      const again = yield* ColumbaProcess.make({ directory: cwd, env: { COLUMBA_DEMO_DEVICES: "3" } })
      yield* again.start
      yield* until(
        "the simulated devices are online again",
        Effect.map(listDevices(again), (items) => items.filter(({ state }) => state._tag === "Online").length === 3)
      )
    }))
})
