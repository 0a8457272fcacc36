/**
 * `npm run bench [-- name…] [--quick | --page]`: measures all figures or the named ones, each in a process of its own, then
 * prints one table, and writes it and the charts into `docs/performance.md`. `--quick` only shows that everything works: its
 * figures are not kept, and are not written into the page. `--page` measures nothing and writes the page from the kept figures.
 */
import { spawn } from "node:child_process"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import {
  drawFigures,
  drawFleets,
  formatFleets,
  formatTable,
  meets,
  progress,
  readFleets,
  readResults
} from "./support/report.ts"
import { quick } from "./support/settings.ts"

const benchmarks = ["decode", "idle", "storm", "coldStart", "tls", "pipeline", "streams", "fleets"]
const docs = join(import.meta.dirname, "..", "docs")
const page = join(docs, "performance.md")

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

const writeChart = (name: string, chart: string, alt: string): string => {
  writeFileSync(join(docs, "images", `bench-${name}.svg`), chart)
  return `![${alt}](images/bench-${name}.svg)`
}

/** The charts and tables of the page: the conditions of the measurement first, because a figure without them is meaningless. */
const figures = (): string =>
  readResults().map((result) =>
    `### ${result.benchmark}\n\n${result.conditions}. ${result.runs} runs on ${result.machine}, ` +
    `${result.takenAt.slice(0, 10)}.\n\n${
      writeChart(result.benchmark, drawFigures(result), `Bars: ${result.benchmark}, the table below`)
    }\n\n${formatTable([result], "markdown")}\n`
  ).join("\n")

const fleets = (): string => {
  const found = readFleets()
  return found === null ?
    "Not measured yet." :
    `${writeChart("fleets", drawFleets(found), "Bars: CPU of the fleets in the table below")}

${formatFleets(found)}

Conditions: ${found.conditions}. ${found.machine}, ${found.takenAt.slice(0, 10)}.
`
}

const replaceSection = (text: string, mark: string, section: string): string => {
  const [begin, end] = [`<!-- ${mark}: written by npm run bench -->`, `<!-- /${mark} -->`]
  const [from, to] = [text.indexOf(begin), text.indexOf(end)]
  if (from === -1 || to === -1) throw new Error(`${page} has lost the marks between which the ${mark} go`)
  return `${text.slice(0, from + begin.length)}\n\n${section}\n${text.slice(to)}`
}

const wanted = process.argv.includes("--page") ? [] : named.length > 0 ? named : benchmarks
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
  const text = replaceSection(readFileSync(page, "utf8"), "figures", figures())
  writeFileSync(page, replaceSection(text, "fleets", fleets()))
}
if (failed.length > 0) process.stderr.write(`Not taken, for they failed: ${failed.join(", ")}\n`)
process.exit(failed.length > 0 ? 1 : 0)
