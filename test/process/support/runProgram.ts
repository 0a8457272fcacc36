/** Runs one command of the built program to its end, as a person in a terminal would. */
import { spawn } from "node:child_process"
import { join } from "node:path"
import { Effect } from "effect"

export const program = process.env["COLUMBA_TEST_MAIN"] ?? join(import.meta.dirname, "../../../dist/main.js")

export interface Ran {
  readonly code: number | null
  readonly out: string
  readonly err: string
}

export interface RunOptions {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Another Node, or another file than the program. */
  readonly command?: ReadonlyArray<string> | undefined
}

/** Interruption, and the test's time limit with it, kills the process. */
export const runProgram = (args: ReadonlyArray<string>, options: RunOptions): Effect.Effect<Ran> =>
  Effect.callback<Ran>((resume) => {
    const [file = process.execPath, ...before] = options.command ?? [process.execPath, program]
    const child = spawn(file, [...before, ...args], {
      cwd: options.cwd,
      env: { PATH: process.env["PATH"], HOME: options.cwd, ...options.env },
      stdio: ["ignore", "pipe", "pipe"]
    })
    let [out, err] = ["", ""]
    child.stdout.on("data", (chunk: Buffer) => {
      out += chunk.toString()
    })
    child.stderr.on("data", (chunk: Buffer) => {
      err += chunk.toString()
    })
    child.on("error", (error) => resume(Effect.die(error)))
    child.on("close", (code) => resume(Effect.succeed({ code, out, err })))
    return Effect.sync(() => child.kill("SIGKILL"))
  })
