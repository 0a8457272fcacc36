/** The examples that use the client, installed from its package, killed and restarted while Columba is killed too. */
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { spawn } from "node:child_process"
import type { ChildProcess } from "node:child_process"
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { DatabaseSync } from "node:sqlite"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { readLog } from "../support/Ledger.ts"
import { until } from "../support/until.ts"
import { installExample, packClient } from "./support/clientPackage.ts"
import * as Rig from "./support/Rig.ts"

let project = ""

/** Once for both: it takes seconds, and neither changes it. */
beforeAll(async () => {
  project = mkdtempSync(join(tmpdir(), "columba-examples-"))
  await packClient(project)
})

afterAll(() => rmSync(project, { recursive: true, force: true }))

/** Events emitted between two kills. */
const each = 150

describe.for(["effectConsumer", "plainConsumer"])("the example %s", (name) => {
  it.live("stores each incoming message once, over kills of itself and of Columba", () =>
    Effect.gen(function*() {
      const example = join(installExample(project, name), "main.ts")
      const databaseUrl = yield* freshDatabase
      const rig = yield* Rig.make({ databaseUrl, rabbitUrl: null, devices: 5, seed: name })
      const { columba, simulator } = rig
      const path = join(yield* freshDirectory, "consumer.db")
      let child: ChildProcess | undefined
      const start = Effect.sync(() => {
        child = spawn(process.execPath, [example], {
          stdio: "ignore",
          env: { PATH: process.env["PATH"], COLUMBA_URL: columba.url, DATABASE: path }
        })
      })
      const kill = Effect.sync(() => void child?.kill("SIGKILL"))
      yield* Effect.addFinalizer(() => kill)
      const stored = Effect.sync((): ReadonlyArray<string> => {
        const database = new DatabaseSync(path, { timeout: 5_000 })
        try {
          return database.prepare("select event_id from messages").all().map((row) => String(row["event_id"]))
        } catch {
          // Not created yet, or locked by its owner for a moment.
          return []
        } finally {
          database.close()
        }
      })
      yield* start
      const load = Effect.gen(function*() {
        simulator.emit({ count: each, rate: 100 })
        yield* rig.logged(each / 2)
      })
      yield* load
      yield* kill
      yield* load
      yield* start
      yield* load
      yield* columba.kill
      yield* columba.start
      yield* rig.online
      yield* load
      yield* kill
      yield* start
      yield* until("everything was emitted", Effect.sync(() => simulator.stats().jobs.length === 0))
      // Messages missed by the kill are in the log once its history was read.
      yield* rig.gaps
      yield* rig.settled
      // Histories have been read too, so nothing more comes.
      yield* rig.gaps
      const wanted = (yield* readLog(databaseUrl)).filter(({ kind }) => kind === "message.received").map(({ id }) => id)
      assert.isAbove(wanted.length, 100)
      yield* until("it has them all", Effect.map(stored, (ids) => ids.length >= wanted.length))
      assert.deepStrictEqual((yield* stored).toSorted(), wanted.toSorted())
    }))
})
