/** The embedded database against real second processes and kill -9. */
import { spawn } from "node:child_process"
import { rmSync } from "node:fs"
import { createInterface } from "node:readline"
import { fileURLToPath } from "node:url"
import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import * as EmbeddedDatabase from "../../../src/layers/postgres/Embedded.ts"
import * as SqlStorage from "../../../src/layers/postgres/SqlStorage.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { LogStatus } from "../../../src/services/LogStatus.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"
import { freshDirectory } from "../../support/directory.ts"
import { untilSo } from "../../support/until.ts"

const script = fileURLToPath(new URL("../../support/embeddedWriter.ts", import.meta.url))

/** A writer in a separate process. `line` returns its next line, null after its end. */
const startWriter = (dataDir: string) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const child = spawn(process.execPath, [script, dataDir], { stdio: ["ignore", "pipe", "inherit"] })
      const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()))
      const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
      return {
        pid: child.pid ?? 0,
        line: Effect.promise(async () => {
          const next = await lines.next()
          return next.done === true ? null : next.value
        }),
        kill: Effect.promise(() => {
          child.kill("SIGKILL")
          return exited
        })
      }
    }),
    (writer) => writer.kill
  )

const storageAt = (dataDir: string) => SqlStorage.layer.pipe(Layer.provide(EmbeddedDatabase.layer({ dataDir })))

it.live("commits nothing once its directory was deleted under the process", () =>
  Effect.gen(function*() {
    const dataDir = yield* freshDirectory
    const context = yield* Layer.build(storageAt(dataDir))
    const log = Context.get(context, EventLog)
    yield* log.append([messageDraft({ device: freshDevice() })])
    rmSync(dataDir, { recursive: true })
    const append = yield* Effect.forkChild(log.append([messageDraft({ device: freshDevice() })]))
    const view = Context.get(context, LogStatus).view
    const { failing } = yield* untilSo("the log has noticed it", view, ({ failing }) => failing !== null)
    assert.include(failing?.reason, "was deleted or replaced")
    assert.isUndefined(append.pollUnsafe())
    assert.strictEqual((yield* Effect.flip(log.bounds))._tag, "StorageUnavailable")
    yield* Fiber.interrupt(append)
  }).pipe(Effect.scoped))

it.live("refuses a second process with a plain sentence, and changes nothing", () =>
  Effect.gen(function*() {
    const dataDir = yield* freshDirectory
    const log = Context.get(yield* Layer.build(storageAt(dataDir)), EventLog)
    yield* log.append([messageDraft({ device: freshDevice() })])
    const second = yield* startWriter(dataDir)
    const line = yield* second.line
    assert.include(line ?? "", `DirectoryInUse: The embedded database in ${dataDir} is open in process ${process.pid}`)
    const again = yield* Effect.flip(Layer.build(storageAt(dataDir)))
    assert.strictEqual(again._tag, "DirectoryInUse")
    yield* log.append([messageDraft({ device: freshDevice() })])
    assert.strictEqual((yield* log.bounds).head, 2)
  }).pipe(Effect.scoped))

it.live(
  "keeps everything that was committed over kill -9, and leaves no lock behind that needs manual removal",
  () =>
    Effect.gen(function*() {
      const dataDir = yield* freshDirectory
      const writer = yield* startWriter(dataDir)
      let last = 0
      while (last < 500) {
        const line = yield* writer.line
        last = Number((line ?? "").replace("committed ", ""))
      }
      const refused = yield* Effect.flip(Layer.build(storageAt(dataDir)))
      assert.include(String(refused), `is open in process ${writer.pid}`)
      yield* writer.kill
      let line = yield* writer.line
      while (line !== null) {
        last = Number(line.replace("committed ", ""))
        line = yield* writer.line
      }
      const log = Context.get(yield* Layer.build(storageAt(dataDir)), EventLog)
      const { head } = yield* log.bounds
      assert.isAtLeast(head, last)
      let after = 0
      while (after < head) {
        const page = yield* log.read({ after, limit: 1000 })
        assert.deepStrictEqual(page.events.map((event) => event.seq), page.events.map((_, index) => after + 1 + index))
        after = page.through
      }
      yield* log.append([messageDraft({ device: freshDevice() })])
      assert.strictEqual((yield* log.bounds).head, head + 1)
    }).pipe(Effect.scoped)
)

it.live("opens again once it was closed", () =>
  Effect.gen(function*() {
    const dataDir = yield* freshDirectory
    yield* Effect.scoped(Layer.build(EmbeddedDatabase.layer({ dataDir })))
    yield* Effect.scoped(Layer.build(EmbeddedDatabase.layer({ dataDir })))
  }).pipe(Effect.scoped))
