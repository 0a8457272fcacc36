/**
 * The results: one JSON file per benchmark, with the machine it was measured on. The tables in the terminal and in
 * `docs/performance.md` are both made from these files, so they contain only what was measured.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs"
import { cpus, release, totalmem } from "node:os"
import { join } from "node:path"
import { drawChart } from "./chart.ts"
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
  /** The target for the ratio of Columba to its floor, or for Columba's value; null if there is none. */
  readonly target: { readonly atMost: number } | { readonly atLeast: number } | { readonly valueAtMost: number } | null
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

/** Empty where the floor is below what can be measured. */
const ratioText = ({ columba, floor }: Figure): string => floor === 0 ? "" : `${(columba / floor).toFixed(2)}×`

export const meets = (figure: Figure): boolean | null => {
  if (figure.target === null) return null
  const limit = findLimit(figure, figure.target)
  return "atLeast" in figure.target ? figure.columba >= limit : figure.columba <= limit
}

/** The target as a value of Columba. */
const findLimit = (figure: Figure, target: NonNullable<Figure["target"]>): number =>
  "valueAtMost" in target
    ? target.valueAtMost
    : figure.floor * ("atMost" in target ? target.atMost : target.atLeast)

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

const fleetsFile = "fleets.json"

export const readResults = (): ReadonlyArray<Result> =>
  readdirSync(resultsDirectory).filter((name) => name.endsWith(".json") && name !== fleetsFile).sort().map((name) =>
    JSON.parse(readFileSync(join(resultsDirectory, name), "utf8")) as Result
  )

/** CPU in percent of one core. */
interface Traffic {
  readonly eventsPerSecond: number
  readonly program: number
  readonly postgres: number
  readonly broker: number
}

/** What a fleet of this size needs. */
export interface Fleet {
  readonly devices: number
  /** From the start of the process until every device is online. */
  readonly startSeconds: number
  /** Resident memory of the program: when all devices are online, a minute later, and after half a minute of traffic. */
  readonly memoryMegabytes: number
  readonly restedMegabytes: number
  readonly trafficMegabytes: number
  readonly idle: Traffic
  readonly busy: Traffic
  /** With more events than the machine can take. */
  readonly most: Traffic
}

interface Fleets {
  readonly takenAt: string
  readonly machine: string
  readonly conditions: string
  readonly fleets: ReadonlyArray<Fleet>
}

/** Writes what the fleets need, and prints the table. */
export const reportFleets = (measured: Pick<Fleets, "conditions" | "fleets">): void => {
  mkdirSync(resultsDirectory, { recursive: true })
  const whole: Fleets = { ...measured, takenAt: new Date().toISOString(), machine: machine() }
  writeFileSync(join(resultsDirectory, fleetsFile), `${JSON.stringify(whole, null, 2)}\n`)
  process.stdout.write(`\n${formatFleets(whole)}\n`)
}

/** Null if they were never measured. */
export const readFleets = (): Fleets | null =>
  existsSync(join(resultsDirectory, fleetsFile))
    ? JSON.parse(readFileSync(join(resultsDirectory, fleetsFile), "utf8")) as Fleets
    : null

export const formatFleets = ({ fleets }: Pick<Fleets, "fleets">): string => {
  const megabytes = (value: number): string => `${numberText(Math.round(value))} MB`
  const percent = (value: number): string => `${numberText(Number(value.toFixed(1)))} %`
  const row = (name: string, cell: (fleet: Fleet) => string): string => `| ${[name, ...fleets.map(cell)].join(" | ")} |`
  return [
    row("numbers", ({ devices }) => numberText(devices)),
    `| --- | ${fleets.map(() => "---:").join(" | ")} |`,
    row("events per second, as measured", ({ busy }) => numberText(busy.eventsPerSecond)),
    row("start until all are online", ({ startSeconds }) => `${numberText(startSeconds)} s`),
    row("memory of the program, all just online", (fleet) => megabytes(fleet.memoryMegabytes)),
    row("memory, a minute later", (fleet) => megabytes(fleet.restedMegabytes)),
    row("memory, after half a minute of traffic", (fleet) => megabytes(fleet.trafficMegabytes)),
    row("CPU of the program, idle", ({ idle }) => percent(idle.program)),
    row("CPU of the program, with traffic", ({ busy }) => percent(busy.program)),
    row("CPU of Postgres, with traffic", ({ busy }) => percent(busy.postgres)),
    row("CPU of RabbitMQ, with traffic", ({ busy }) => percent(busy.broker)),
    row("events per second at most, confirmed by RabbitMQ", ({ most }) => numberText(most.eventsPerSecond)),
    row(
      "CPU then: program, Postgres, RabbitMQ",
      ({ most }) => [most.program, most.postgres, most.broker].map(percent).join(", ")
    )
  ].join("\n")
}

/** One chart per benchmark: every figure beside its floor, with its target. */
export const drawFigures = ({ benchmark, figures }: Result): string =>
  drawChart(
    figures.map((figure) => ({
      title: figure.name,
      note: ratioText(figure),
      bars: [
        { series: "bare floor", value: figure.floor, text: `${numberText(figure.floor)} ${figure.unit}` },
        { series: "Columba", value: figure.columba, text: `${numberText(figure.columba)} ${figure.unit}` }
      ],
      mark: figure.target === null ? null : findLimit(figure, figure.target)
    })),
    { title: `${benchmark}: Columba beside the bare floor`, markMeans: "target", fullWidth: "group" }
  )

/** CPU with traffic, and memory, of each size of fleet. */
export const drawFleets = ({ fleets }: Pick<Fleets, "fleets">): string =>
  drawChart(
    fleets.map(({ busy, devices, restedMegabytes }) => ({
      title: `${numberText(devices)} numbers, ${numberText(busy.eventsPerSecond)} events per second`,
      note: `${numberText(Math.round(restedMegabytes))} MB`,
      bars: ([["Columba", busy.program], ["Postgres", busy.postgres], ["RabbitMQ", busy.broker]] as const).map(
        ([series, value]) => ({ series, value, text: `${numberText(Number(value.toFixed(1)))} % of a core` })
      ),
      mark: null
    })),
    { title: "CPU of fleets with traffic", markMeans: null, fullWidth: "chart" }
  )

const headings = ["figure", "bare floor", "Columba", "ratio", "target", ""]

const formatRow = (figure: Figure): ReadonlyArray<string> => {
  const target = figure.target === null
    ? ""
    : "valueAtMost" in figure.target
    ? `≤ ${figure.target.valueAtMost} ${figure.unit}`
    : "atMost" in figure.target
    ? `≤ ${figure.target.atMost}×`
    : `≥ ${figure.target.atLeast}×`
  const met = meets(figure)
  return [
    figure.name,
    `${numberText(figure.floor)} ${figure.unit}`,
    `${numberText(figure.columba)} ${figure.unit}`,
    ratioText(figure),
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
