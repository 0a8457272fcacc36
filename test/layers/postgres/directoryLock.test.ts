/** One owner per directory, whatever process ids say. */
import { spawn } from "node:child_process"
import { cpSync, mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
import { join } from "node:path"
import { assert, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { acquireDirectoryLock, makeDirectoryCheck } from "../../../src/layers/postgres/directoryLock.ts"
import { freshDirectory } from "../../support/directory.ts"

const locks = (directory: string) => readdirSync(directory).filter((name) => name.startsWith("columba.lock"))

/** Leaves a socket behind without a listener, as a killed process does. */
const leaveDead = (directory: string, processId: number) =>
  Effect.promise(() =>
    new Promise<void>((resolve) => {
      const name = join(directory, `columba.lock.${processId}.0123456789abcdef`)
      const server = createServer().listen(`${name}.new`, () => {
        renameSync(`${name}.new`, name)
        server.close(() => resolve())
      })
    })
  )

it.live("a dead owner's lock is taken over, though its process id is in use again", () =>
  Effect.gen(function*() {
    const directory = yield* freshDirectory
    yield* leaveDead(directory, process.pid)
    writeFileSync(join(directory, "columba.lock"), "of another kind")
    yield* acquireDirectoryLock(directory)
    assert.strictEqual(locks(directory).filter((name) => name !== "columba.lock").length, 1)
  }).pipe(Effect.scoped))

it.live("a living owner keeps the lock, though no process here has its id, as from another container", () =>
  Effect.gen(function*() {
    const directory = yield* freshDirectory
    yield* acquireDirectoryLock(directory)
    const [name = ""] = locks(directory)
    renameSync(join(directory, name), join(directory, "columba.lock.4194305.0123456789abcdef"))
    const refused = yield* Effect.flip(acquireDirectoryLock(directory))
    assert.deepInclude(refused, { _tag: "DirectoryInUse", processId: 4194305 })
    assert.strictEqual(locks(directory).length, 1)
  }).pipe(Effect.scoped))

it.live("of many that start at once exactly one gets the lock, and after it the next", () =>
  Effect.gen(function*() {
    const directory = yield* freshDirectory
    yield* leaveDead(directory, 1)
    for (let round = 0; round < 5; round++) {
      const scopes = Array.from({ length: 8 }, () => Scope.makeUnsafe())
      const results = yield* Effect.forEach(
        scopes,
        (scope) => Effect.exit(Scope.provide(acquireDirectoryLock(directory), scope)),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(results.filter(Exit.isSuccess).length, 1)
      yield* Effect.forEach(scopes, (scope) => Scope.close(scope, Exit.void))
      assert.deepStrictEqual(locks(directory), [])
    }
  }).pipe(Effect.scoped))

it.live("the lock works in a directory whose path is too long for a socket's address", () =>
  Effect.gen(function*() {
    const directory = join(yield* freshDirectory, "d".repeat(120), "e".repeat(120))
    mkdirSync(directory, { recursive: true })
    yield* acquireDirectoryLock(directory)
    assert.strictEqual((yield* Effect.flip(acquireDirectoryLock(directory)))._tag, "DirectoryInUse")
  }).pipe(Effect.scoped))

const lockModule = new URL("../../../src/layers/postgres/directoryLock.ts", import.meta.url).href

it.live(
  "an owner that is busy and does not answer keeps the lock; one that was killed does not",
  () =>
    Effect.gen(function*() {
      const directory = yield* freshDirectory
      const script = `import { Effect } from "effect"
      import { acquireDirectoryLock, makeDirectoryCheck } from ${JSON.stringify(lockModule)}
      await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
        yield* acquireDirectoryLock(${JSON.stringify(directory)})
        process.stdout.write("held")
        yield* Effect.sync(() => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0))
      })))`
      const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
        stdio: ["ignore", "pipe", "inherit"]
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => child.kill("SIGKILL")))
      yield* Effect.promise(() => new Promise((resolve) => child.stdout.once("data", resolve)))
      const refused = yield* Effect.flip(acquireDirectoryLock(directory))
      assert.deepInclude(refused, { _tag: "DirectoryInUse", processId: child.pid ?? 0 })
      const gone = new Promise((resolve) => child.once("exit", resolve))
      child.kill("SIGKILL")
      yield* Effect.promise(() => gone)
      yield* acquireDirectoryLock(directory)
    }).pipe(Effect.scoped)
)

it.live("a deleted directory, or a copy in its place, is noticed", () =>
  Effect.gen(function*() {
    for (const replaced of [false, true]) {
      const dataDir = yield* freshDirectory
      const file = join(dataDir, "version")
      writeFileSync(file, "17")
      const lock = yield* acquireDirectoryLock(dataDir)
      const check = makeDirectoryCheck(dataDir, file, lock)
      check()
      if (replaced) {
        cpSync(file, `${file}.copy`)
        renameSync(`${file}.copy`, file)
      } else {
        rmSync(dataDir, { recursive: true })
      }
      assert.throws(check, "deleted or replaced")
    }
  }).pipe(Effect.scoped))
