/** `columba top` in a real terminal, with typed keys. */
import { spawn } from "node:child_process"
import { stripVTControlCharacters } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshDirectory } from "../support/directory.ts"
import { until } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"
import { runProgram } from "./support/runProgram.ts"
import { commandInTerminal, hasTerminal } from "./support/runInTerminal.ts"

const start = Effect.fnUntraced(function*(url: string) {
  const [file = "", ...args] = commandInTerminal(["top", "--url", url])
  const child = spawn(file, args, { env: { PATH: process.env["PATH"], TERM: "xterm-256color" } })
  let shown = ""
  child.stdout.on("data", (chunk: Buffer) => shown += chunk.toString("utf8"))
  let code: number | null | undefined
  child.once("exit", (exit) => code = exit)
  yield* Effect.addFinalizer(() => Effect.sync(() => void child.kill("SIGKILL")))
  return {
    type: (text: string) => Effect.sync(() => void child.stdin.write(text)),
    /** Returns once this is shown that was not before. */
    shows: (text: string | RegExp) => {
      const from = shown.length
      return until(
        `${String(text)} is shown`,
        Effect.sync(() => {
          const since = stripVTControlCharacters(shown.slice(from))
          return typeof text === "string" ? since.includes(text) : text.test(since)
        })
      )
    },
    ended: Effect.map(until("it has ended", Effect.sync(() => code !== undefined)), () => ({ code, shown }))
  }
})

describe.skipIf(!hasTerminal)("columba top", () => {
  it.live("shows the fleet, answers keys, shows that the server is down, and restores the terminal", () =>
    Effect.gen(function*() {
      const columba = yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: { COLUMBA_DEMO_DEVICES: "3" }
      })
      yield* columba.start
      const view = yield* start(columba.url)
      yield* view.shows(/3\D* Online/)
      yield* view.type("/")
      yield* view.shows("search: ")
      yield* view.type("no such name")
      yield* view.shows("no device is like that")
      yield* view.type("\u001b")
      yield* view.shows("quit")
      yield* view.type("e")
      yield* view.shows("It has been online since")
      yield* columba.kill
      yield* view.shows("the server stopped answering")
      yield* columba.start
      yield* view.type("q")
      yield* view.shows(/3\D* Online/)
      yield* view.type("q")
      const { code, shown } = yield* view.ended
      assert.strictEqual(code, 0)
      assert.isTrue(shown.startsWith("\u001b[?1049h"))
      assert.isTrue(shown.trimEnd().endsWith("\u001b[?1049l"))
      assert.strictEqual((yield* columba.terminate).code, 0)
    }))

  it.live("names the commands to use if there is no terminal", () =>
    Effect.gen(function*() {
      const { code, err } = yield* runProgram(["top"], { cwd: yield* freshDirectory })
      assert.strictEqual(code, 2)
      assert.include(err, "columba devices list --json")
    }))
})
