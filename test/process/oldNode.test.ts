/** `node dist/main.js` by a Node that is too old. Needs such a Node on the machine; reports if there is none. */
import { execFileSync } from "node:child_process"
import { copyFileSync, existsSync, mkdirSync, readFileSync, symlinkSync } from "node:fs"
import { join, resolve } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { freshDirectory } from "../support/directory.ts"
import { program, runProgram } from "./support/runProgram.ts"

const root = resolve(import.meta.dirname, "../..")

const readVersion = (node: string): string => execFileSync(node, ["-p", "process.versions.node"]).toString().trim()
const isOld = (version: string): boolean => {
  const [major = 0, minor = 0] = version.split(".").map(Number)
  return major >= 18 && (major < 22 || (major === 22 && minor < 19))
}
const oldNode = ["/usr/bin/node", "/usr/local/bin/node"].find((node) => existsSync(node) && isOld(readVersion(node)))

const lonely = Effect.map(freshDirectory, (cwd) => {
  copyFileSync(program, join(cwd, "main.mjs"))
  return { cwd, file: join(cwd, "main.mjs") }
})

describe("the runtime guard", () => {
  it("requires the same Node as package.json", () => {
    const { engines } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as { engines: { node: string } }
    const [, major, minor] = /needed.*= \[(\d+), (\d+)\]/.exec(
      readFileSync(join(root, "src/bin/runtimeGuard.ts"), "utf8")
    ) ?? []
    assert.strictEqual(engines.node, `>=${major}.${minor}`)
  })

  // The machine's own Node must be old for these; with a new one there is nothing to hand over.
  describe.skipIf(oldNode === undefined)("under an old Node", () => {
    const node = oldNode ?? ""

    it.live("starts the project's runtime, with arguments and exit code", () =>
      Effect.gen(function*() {
        const cwd = yield* freshDirectory
        const ran = yield* runProgram(["devices", "list", "--url", "http://127.0.0.1:1"], {
          cwd,
          command: [node, program]
        })
        assert.strictEqual(ran.code, 3)
        assert.include(ran.err, "no Columba answers")
      }))

    it.live("finds the runtime from the working directory too", () =>
      Effect.gen(function*() {
        const { cwd, file } = yield* lonely
        mkdirSync(join(cwd, "node_modules/node/bin"), { recursive: true })
        symlinkSync(process.execPath, join(cwd, "node_modules/node/bin/node"))
        const ran = yield* runProgram(["--version"], { cwd, command: [node, file] })
        assert.strictEqual(ran.code, 0, ran.err)
      }))

    it.live("states in one line what is needed if none is installed", () =>
      Effect.gen(function*() {
        const { cwd, file } = yield* lonely
        const ran = yield* runProgram(["--version"], { cwd, command: [node, file] })
        assert.strictEqual(ran.code, 1)
        assert.match(ran.err, /^columba needs Node 22\.19 or newer and this is [\d.]+: .*npm ci.*\n$/)
      }))

    it.live("states in one line what npm start lacks after an install without scripts", () =>
      Effect.gen(function*() {
        const cwd = yield* freshDirectory
        const ran = yield* runProgram([], { cwd, command: [node, join(root, "scripts/start.js")] })
        assert.strictEqual(ran.code, 1)
        assert.match(ran.err, /^columba needs a newer Node than [\d.]+ to start: run 'npm rebuild node'.*\n$/)
      }))

    it.live("forwards signals, and the server stops in order", () =>
      Effect.gen(function*() {
        const cwd = yield* freshDirectory
        const script = `
          const { spawn } = require("node:child_process")
          const child = spawn(process.execPath, [${
          JSON.stringify(program)
        }, "serve", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] })
          child.stdout.on("data", (data) => { if (String(data).includes("Columba is up")) child.kill("SIGTERM") })
          child.on("exit", (code, signal) => { console.log(JSON.stringify({ code, signal })) })`
        const ran = yield* runProgram(["-e", script], { cwd, command: [node] })
        assert.strictEqual(ran.out.trim(), JSON.stringify({ code: 0, signal: null }), ran.err)
      }))

    it.live("leaves no server behind when the launcher is killed, and the server stops in order", () =>
      Effect.gen(function*() {
        const cwd = yield* freshDirectory
        // The server inherits the launcher's output, so the output ends only with the server.
        const script = `
          const { spawn } = require("node:child_process")
          const launcher = spawn(process.execPath, [${
          JSON.stringify(program)
        }, "serve", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] })
          let said = ""
          launcher.stdout.on("data", (data) => {
            said += data
            if (String(data).includes("Columba is up")) launcher.kill("SIGKILL")
          })
          launcher.stdout.on("end", () => { console.log(launcher.signalCode, said.includes("message=Stopped")) })`
        const ran = yield* runProgram(["-e", script], { cwd, command: [node] })
        assert.strictEqual(ran.out.trim(), "SIGKILL true", ran.err)
      }))
  })
})
