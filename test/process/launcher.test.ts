/** `npm start`: npm starts a shell, and the shell starts the program. A killed npm can forward no signal. */
import { resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshDirectory } from "../support/directory.ts"
import { runProgram } from "./support/runProgram.ts"

const startScript = resolve(import.meta.dirname, "../../scripts/start.ts")

/** In npm's place: a process that starts a shell which stays. */
const launcher = `
  require("node:child_process").spawn("sh", ["-c", ${
  JSON.stringify(`"${process.execPath}" "${startScript}" serve --port 0; exit $?`)
}], { stdio: "inherit" })`

/** The server inherits the launcher's output, so the output ends only with the server. */
const killLauncher = `
  const launcher = require("node:child_process").spawn(process.execPath, ["-e", ${JSON.stringify(launcher)}], {
    stdio: ["ignore", "pipe", "inherit"]
  })
  let said = ""
  launcher.stdout.on("data", (data) => {
    said += data
    if (String(data).includes("Columba is up")) launcher.kill("SIGKILL")
  })
  launcher.stdout.on("end", () => { console.log(launcher.signalCode, said.includes("message=Stopped")) })`

describe("npm start", () => {
  it.live("leaves no server behind when npm is killed, and the server stops in order", () =>
    Effect.gen(function*() {
      const ran = yield* runProgram(["-e", killLauncher], { cwd: yield* freshDirectory, command: [process.execPath] })
      assert.strictEqual(ran.out.trim(), "SIGKILL true", ran.err)
    }))
})
