/**
 * The results: one JSON file per benchmark, with the machine it was measured on. The tables in the terminal and in
 * `docs/performance.md` are both made from these files, so they contain only what was measured.
 */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, release, totalmem } from "node:os"
import { join } from "node:path"
import { quick } from "./settings.ts"

/** The results of a quick run are not kept. */
const resultsDirectory = quick
  ? join(import.meta.dirname, "..", "..", ".tmp", "bench-quick")
  : join(import.meta.dirname, "..", "results")

/** One line of the table: a figure of Columba and of its floor, from the same run. */
export interface Figure {
  readonly name: string
  readonly unit: string
  readonly floor: number
  readonly columba: number
  /** The target for the ratio of Columba to its floor; null if there is none. */
  readonly target: { readonly atMost: number } | { readonly atLeast: number } | null
}

export interface Result {
  readonly benchmark: string
  readonly takenAt: string
  readonly machine: string
  /** Number of measurements of each cell. Figures are medians. */
  readonly runs: number
  readonly conditions: string
  readonly figures: ReadonlyArray<Figure>
  /** All other measured values, for a closer look. */
  readonly details: unknown
}

const computeRatio = (figure: Figure): number => figure.columba / figure.floor

export const meets = (figure: Figure): boolean | null => {
  if (figure.target === null) return null
  const ratio = computeRatio(figure)
  return "atMost" in figure.target ? ratio <= figure.target.atMost : ratio >= figure.target.atLeast
}

export const machine = (): string => {
  const cores = cpus()
  const gibibytes = Math.round(totalmem() / 2 ** 30)
  return `${cores.length} × ${
    cores[0]?.model.trim() ?? "CPU"
  }, ${gibibytes} GiB, Linux ${release()}, Node ${process.versions.node}`
}

/** Writes the result and prints its table. */
export const report = (result: Omit<Result, "takenAt" | "machine">): void => {
  mkdirSync(resultsDirectory, { recursive: true })
  const whole: Result = { ...result, takenAt: new Date().toISOString(), machine: machine() }
  writeFileSync(join(resultsDirectory, `${result.benchmark}.json`), `${JSON.stringify(whole, null, 2)}\n`)
  process.stdout.write(`\n${formatTable([whole], "text")}\n`)
}

export const readResults = (): ReadonlyArray<Result> =>
  readdirSync(resultsDirectory).filter((name) => name.endsWith(".json")).sort().map((name) =>
    JSON.parse(readFileSync(join(resultsDirectory, name), "utf8")) as Result
  )

const headings = ["figure", "bare floor", "Columba", "ratio", "target", ""]

const formatRow = (figure: Figure): ReadonlyArray<string> => {
  const target = figure.target === null
    ? ""
    : "atMost" in figure.target
    ? `≤ ${figure.target.atMost}×`
    : `≥ ${figure.target.atLeast}×`
  const met = meets(figure)
  return [
    figure.name,
    `${numberText(figure.floor)} ${figure.unit}`,
    `${numberText(figure.columba)} ${figure.unit}`,
    `${computeRatio(figure).toFixed(2)}×`,
    target,
    met === null ? "" : met ? "met" : "missed"
  ]
}

/** Three significant digits; thousands separated by a comma. */
const numberText = (value: number): string =>
  value.toLocaleString("en-US", value >= 100 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 3 })

export const formatTable = (results: ReadonlyArray<Result>, style: "text" | "markdown"): string => {
  const rows = results.flatMap((result) => result.figures.map(formatRow))
  const widths = headings.map((heading, column) => Math.max(heading.length, ...rows.map((row) => row[column]!.length)))
  const line = (cells: ReadonlyArray<string>): string => {
    const padded = cells.map((cell, column) =>
      column === 0 || column === cells.length - 1 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)
    )
    return style === "markdown" ? `| ${padded.join(" | ")} |` : padded.join("  ").trimEnd()
  }
  const rule = widths.map((width, column) =>
    style === "text"
      ? "─".repeat(width)
      : column === 0 || column === widths.length - 1
      ? "-".repeat(width)
      : `${"-".repeat(width - 1)}:`
  )
  return [line(headings), line(rule), ...rows.map(line)].join("\n")
}

/** Prints a line about the progress, since measuring takes minutes. */
export const progress = (text: string): void => {
  const time = new Date().toISOString().slice(11, 19)
  process.stderr.write(`${time}  ${text}\n`)
}
