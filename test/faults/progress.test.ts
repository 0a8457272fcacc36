/** A run of the fault suite ends neither because its reader has gone, nor unheard of. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"

const progress = join(import.meta.dirname, "../../faults/progress.ts")

/** Shows the first line of a row, and what else it is told, once a line has come in. */
const runRow = (then: string, onFirst: (child: ReturnType<typeof start>) => void) =>
  Effect.callback<{ readonly code: number | null; readonly errors: string }>((resume) => {
    const child = start(then)
    let errors = ""
    child.stderr.on("data", (data: Buffer) => {
      if (errors === "") onFirst(child)
      errors += String(data)
    })
    child.on("close", (code) => resume(Effect.succeed({ code, errors })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })

const start = (then: string) =>
  spawn(process.execPath, [
    "--input-type=module-typescript",
    "--eval",
    `const { make, over } = await import(${JSON.stringify(progress)})
    const show = make("a row")
    const say = (phase) => show({ emitted: 1, of: 2, logged: 1, delivered: 1, phase })
    say("load")
    process.stdin.once("data", () => { ${then} })`
  ], { stdio: ["pipe", "ignore", "pipe"] })

describe("a run of the fault suite", () => {
  it.live("goes on when whoever reads its output has gone", () =>
    Effect.gen(function*() {
      const { code } = yield* runRow(
        `say("settling"); setImmediate(() => { say("checking"); over(); process.exit(7) })`,
        ({ stderr, stdin }) => {
          stderr.destroy()
          stderr.once("close", () => stdin.end("go on"))
        }
      )
      assert.strictEqual(code, 7)
    }))

  it.live("says what it was at when it ends before its rows have run", () =>
    Effect.gen(function*() {
      const { code, errors } = yield* runRow(`process.exit(3)`, ({ stdin }) => stdin.end("go on"))
      assert.strictEqual(code, 3)
      assert.include(errors, "ended with 3 at [a row] 1/2 emitted, 1 in the log, 1 delivered · load")
    }))
})
