/**
 * `npm run bench [-- name…] [--quick]`: measures all figures or the named ones, each in a process of its own, then prints
 * one table and writes it into `docs/performance.md`. `--quick` only shows that everything works: its figures are
 * not kept, and are not written into the page.
 */
import { spawn } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { meets, progress, readResults, formatTable } from "./support/report.ts"
import { quick } from "./support/settings.ts"

const benchmarks = ["decode", "idle", "storm", "coldStart", "tls", "pipeline"]
const page = join(import.meta.dirname, "..", "docs", "performance.md")
const [begin, end] = ["<!-- figures: written by npm run bench -->", "<!-- /figures -->"]

const named = process.argv.slice(2).filter((argument) => !argument.startsWith("-"))
const unknown = named.filter((name) => !benchmarks.includes(name))
if (unknown.length > 0) {
  process.stderr.write(`No benchmark '${unknown.join("', '")}'. There are: ${benchmarks.join(", ")}\n`)
  process.exit(2)
}

const run = (name: string): Promise<number> =>
  new Promise((resolve) => {
    const file = join(import.meta.dirname, `${name}.ts`)
    const child = spawn(process.execPath, [file, ...(quick ? ["--quick"] : [])], {
      stdio: ["ignore", "ignore", "inherit"]
    })
    child.once("exit", (code) => resolve(code ?? 1))
  })

/** The tables of the page: the conditions of the measurement first, because a figure without them is meaningless. */
const section = (): string =>
  readResults().map((result) =>
    `### ${result.benchmark}\n\n${result.conditions}. ${result.runs} runs on ${result.machine}, ` +
    `${result.takenAt.slice(0, 10)}.\n\n${formatTable([result], "markdown")}\n`
  ).join("\n")

const wanted = named.length > 0 ? named : benchmarks
const failed: Array<string> = []
for (const [index, name] of wanted.entries()) {
  progress(`${name} (${index + 1} of ${wanted.length})`)
  if (await run(name) !== 0) failed.push(name)
}

const results = readResults()
const missed = results.flatMap((result) => result.figures).filter((figure) => meets(figure) === false)
process.stdout.write(`\n${formatTable(results, "text")}\n\n`)
process.stdout.write(missed.length === 0 ? "Every target is met.\n" : `${missed.length} targets are missed.\n`)
if (!quick) {
  const text = readFileSync(page, "utf8")
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from === -1 || to === -1) throw new Error(`${page} has lost the marks between which the figures go`)
  writeFileSync(page, `${text.slice(0, from + begin.length)}\n\n${section()}\n${text.slice(to)}`)
}
if (failed.length > 0) process.stderr.write(`Not taken, for they failed: ${failed.join(", ")}\n`)
process.exit(failed.length > 0 ? 1 : 0)
