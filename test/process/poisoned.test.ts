/**
 * A device whose events end the process that handles them, in a cluster whose nodes are restarted when they die. It is
 * found and quarantined, and the others continue.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { join } from "node:path"
import { writeFileSync } from "node:fs"
import { buildChanged, dieThere, plantVariable } from "../../faults/planted.ts"
import { freshVhost } from "../support/broker.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { until } from "../support/until.ts"
import * as ClusterRig from "./support/ClusterRig.ts"

const devices = 30

/** The process dies at each event of one device, while the test's file is there. */
const poisoned = {
  name: "poisoned device",
  file: "src/actors/device/DeviceCell.ts",
  changes: [[
    "    cell.host.meter.frame()\n    // A defect caused",
    `    cell.host.meter.frame()\n    if (cell.device.upstreamId === "slot-1") { ${dieThere} }\n    // A defect caused`
  ]]
} as const

interface Shown {
  readonly state: { readonly _tag: string; readonly reason?: { readonly code: string; readonly detail: string } }
}

/** The answer of the first node that gives one. */
const askAny = async (nodes: ReadonlyArray<ClusterRig.ClusterNode>, path: string): Promise<Shown | null> => {
  for (const { url } of nodes) {
    try {
      const response = await fetch(`${url}${path}`, { signal: AbortSignal.timeout(5000) })
      if (response.ok) return await response.json() as Shown
    } catch {
      // It is not running just now.
    }
  }
  return null
}

describe("a device that kills its node", () => {
  it.live("is quarantined after a few deaths, and the other devices are online", () =>
    Effect.gen(function*() {
      const plant = join(yield* freshDirectory, "plant")
      const rig = yield* ClusterRig.make({
        databaseUrl: yield* freshDatabase,
        rabbitUrl: yield* freshVhost,
        devices,
        nodes: 3,
        programs: Array.from<string>({ length: 3 }).fill(yield* buildChanged([poisoned])),
        env: { [plantVariable]: plant },
        seed: "poisoned",
        lease: "6 seconds"
      })
      yield* rig.shared
      const killer = rig.devices.find((id) => rig.upstreamOf.get(id) === "slot-1") ?? ""

      // The restart by an orchestrator.
      let deaths = 0
      const restarts = yield* Effect.forEach(rig.nodes, (node) =>
        Effect.forever(Effect.gen(function*() {
          yield* until("the node has died", Effect.map(node.running, (running) => !running), "10 minutes")
          deaths++
          yield* Effect.ignore(Effect.sandbox(node.start))
        })), { concurrency: "unbounded" }).pipe(Effect.forkChild)
      writeFileSync(plant, "")
      rig.simulator.emit({ rate: 60 })
      const show = Effect.promise(() => askAny(rig.nodes, `/api/v1/devices/${killer}`))
      yield* until(
        "the device is quarantined",
        Effect.map(show, (shown) => shown?.state._tag === "Quarantined"),
        "5 minutes"
      )
      const found = deaths
      yield* until("all others are online", Effect.sync(() => rig.sockets.connected() === devices - 1), "3 minutes")
      const shown = yield* show
      assert.strictEqual(shown?.state.reason?.code, "process-killed")
      assert.match(shown?.state.reason?.detail ?? "", /\d processes in a row have ended while they ran this device/)
      console.log(`${found} deaths until the device was quarantined; ${shown?.state.reason?.detail}`)
      assert.isAtMost(found, 8)

      // No node dies any more, for longer than each of the earlier ones has lived.
      yield* rig.emitted(rig.simulator.ledger.count + 1200)
      assert.isAtMost(deaths, found)
      yield* Fiber.interrupt(restarts)
    }))
})
