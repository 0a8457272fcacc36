/** Keeps the last outcome of every row, and writes them into docs/faults.md. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cell, table } from "../scripts/markdown.ts"
import { faultList } from "./faultList.ts"
import { mutants } from "./mutants.ts"
import { isSound } from "./runScenario.ts"
import type { Outcome } from "./runScenario.ts"
import type { Scenario } from "./Scenario.ts"
import { makeSoak, scenarios } from "./rows/index.ts"

const results = join(import.meta.dirname, "results")
const page = join(import.meta.dirname, "../docs/faults.md")

const fileOf = (name: string): string => join(results, `${name}.json`)

export interface Kept extends Outcome {
  readonly at: string
}

export const keep = (outcome: Outcome): void => {
  mkdirSync(results, { recursive: true })
  const kept: Kept = { ...outcome, at: new Date().toISOString().slice(0, 10) }
  writeFileSync(fileOf(outcome.name), `${JSON.stringify(kept, null, 2)}\n`)
}

const read = (name: string): Kept | null =>
  existsSync(fileOf(name)) ? JSON.parse(readFileSync(fileOf(name), "utf8")) as Kept : null

const spread = (millis: ReadonlyArray<number>): string => {
  if (millis.length === 0) return ""
  const sorted = [...millis].sort((left, right) => left - right)
  const show = (value: number) => (value / 1000).toFixed(1)
  const median = sorted[Math.floor((sorted.length - 1) / 2)]!
  return sorted.length === 1 ? `${show(median)} s` : `${show(median)} s, at most ${show(sorted.at(-1)!)} s`
}

const broken = (outcome: Outcome): string =>
  Object.entries(outcome.broken).map(([name, found]) => `${name} ${found.length} (${found.slice(0, 2).join("; ")})`)
    .join(", ")

/** One line for the terminal. */
export const line = (scenario: Scenario, outcome: Outcome): string => {
  const { counts } = outcome
  const untold = outcome.untold > 0 ? `, ${outcome.untold} of them untold` : ""
  const figures = `${counts.emitted} emitted, ${counts.committed} in the log, lost ${
    outcome.broken["lost"]?.length ?? 0
  }, missed ${counts.missed}${untold}, unheard ${counts.unheard}, recovered ${counts.recovered}, repeated ${counts.repeated}`
  const verdict = isSound(outcome) ? "" : ` · BROKEN ${broken(outcome)}`
  const ready = outcome.recoveries.length === 0 ? "" : ` · ready again after ${spread(outcome.recoveries)}`
  return `${
    isSound(outcome) ? "✓" : "✗"
  } ${scenario.name}: ${figures}${ready} · ${outcome.seconds} s, seed ${outcome.seed}${verdict}`
}

const row = (scenario: Scenario): ReadonlyArray<string> => {
  const outcome = read(scenario.name)
  const name = `\`${scenario.name}\``
  if (outcome === null) return [name, cell(scenario.title), "not run yet", "", "", "", "", ""]
  const { counts } = outcome
  return [
    name,
    cell(scenario.title),
    isSound(outcome) ? "holds" : cell(`broken: ${broken(outcome)}`),
    String(counts.emitted),
    `${outcome.broken["lost"]?.length ?? 0} / ${outcome.broken["doubled"]?.length ?? 0}`,
    `${counts.missed} + ${counts.unheard}, ${counts.recovered}`,
    String(counts.repeated),
    cell(spread(outcome.recoveries))
  ]
}

/** Minutes of the soak that the page shows. */
const usualSoak = 30

const heads = [
  "row",
  "what happens",
  "",
  "events",
  "lost / doubled rows",
  "missed + unheard, recovered",
  "delivered again",
  "ready again after (median)"
]

/** The mutants, and what each is condemned for. */
export const condemnations = (): string =>
  table(
    ["mutant", "what it does", "condemned by", "for"],
    mutants.map(({ condemned, name, rows, title }) => [
      name,
      cell(title),
      rows.map((row) => `\`${row}\``).join(", "),
      condemned.join(" or ")
    ])
  )

export const section = (): string =>
  table(heads, [...scenarios.filter(({ name }) => !name.endsWith("-smoke")), makeSoak(usualSoak)].map(row))

/** The numbered faults, and what puts each to the test. */
export const list = (): string =>
  table(
    ["", "area", "fault", "put to the test by"],
    faultList.map(({ area, fault, not, number, rows = [], tests = [] }) => [
      String(number),
      area,
      cell(fault),
      cell([
        ...rows.map((name) => `\`${name}\``),
        ...tests.map(([file, title]) => `[${title}…](../${file})`),
        ...(not === undefined ? [] : [rows.length + tests.length === 0 ? `${not}.` : `not here: ${not}.`])
      ].join(", "))
    ])
  )

const between = (name: string) => new RegExp(`(<!-- ${name}:[^\\n]*-->\\n)[\\s\\S]*?(<!-- /${name} -->)`)

const fill = (text: string, name: string, content: string): string => {
  const marked = between(name)
  if (!marked.test(text)) throw new Error(`${page} has lost the marks between which the ${name} go`)
  return text.replace(marked, (_, begin: string, end: string) => `${begin}${content}\n${end}`)
}

export const update = (text: string): string =>
  fill(fill(fill(text, "rows", section()), "list", list()), "mutants", condemnations())

export const write = (): void => writeFileSync(page, update(readFileSync(page, "utf8")))

export const isCurrent = (): boolean => readFileSync(page, "utf8") === update(readFileSync(page, "utf8"))
