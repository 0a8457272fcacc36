/** Runs one command of the built program in a pseudo terminal, so that it prints as for a person: with colours. */
import { existsSync } from "node:fs"
import { Effect } from "effect"
import { program, runProgram } from "./runProgram.ts"
import type { Ran } from "./runProgram.ts"

/** `script` of util-linux gives its command a terminal; it is part of Debian's base system. */
const scriptFile = "/usr/bin/script"

export const hasTerminal = existsSync(scriptFile)

const quote = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`

/** The command line that runs the built program in a terminal; its stdin is typed there. */
export const commandInTerminal = (args: ReadonlyArray<string>): ReadonlyArray<string> => [
  scriptFile,
  "--quiet",
  "--return",
  "--command",
  [process.execPath, program, ...args].map(quote).join(" "),
  "/dev/null"
]

/** A terminal has one stream: `out` holds stdout and stderr, in the order in which they were written. */
export const runInTerminal = (args: ReadonlyArray<string>, options: { readonly cwd: string }): Effect.Effect<Ran> => {
  const [file = "", ...rest] = commandInTerminal(args)
  return runProgram(rest, { cwd: options.cwd, env: { TERM: "xterm-256color" }, command: [file] })
}
