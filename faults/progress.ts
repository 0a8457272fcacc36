/**
 * Shows what a row is at, and sees to it that a run of many minutes does not end unheard of: neither because whoever read its
 * output has gone, nor without saying what it was at.
 */
import type { Progress } from "./runScenario.ts"

/** A line at every new phase and this often meanwhile, where the output is no terminal. */
const lineEvery = 10_000

let now: string | null = null

/** On a terminal one line that changes. */
export const make = (row: string) => {
  let shown = { phase: "", at: 0 }
  return ({ delivered, emitted, logged, of, phase }: Progress): void => {
    const text = `[${row}] ${emitted}/${of} emitted, ${logged} in the log, ${delivered} delivered · ${phase}`
    now = text
    if (process.stderr.isTTY) return void process.stderr.write(`\r\u001b[K${text.slice(0, process.stderr.columns - 1)}`)
    const time = performance.now()
    if (phase === shown.phase && time - shown.at < lineEvery) return
    shown = { phase, at: time }
    process.stderr.write(`${text}\n`)
  }
}

/** All rows have run. */
export const over = (): void => {
  now = null
}

process.on("exit", (code) => {
  if (now !== null) process.stderr.write(`\nended with ${code} at ${now}\n`)
})

// A terminal that was closed, or `| head`: the results are kept all the same. Unheard, it would end the run at its next line.
for (const output of [process.stdout, process.stderr]) {
  output.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error
  })
}
