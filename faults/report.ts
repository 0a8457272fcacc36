/** Stores the last outcome of every row, and writes the outcomes into docs/faults.md. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { cell, table } from "../scripts/markdown.ts"
import type { ClusterFigures } from "./cluster/figures.ts"
import { faultList } from "./faultList.ts"
import { mutants } from "./mutants.ts"
import { isSound } from "./runScenario.ts"
import type { Outcome } from "./runScenario.ts"
import type { Scenario } from "./Scenario.ts"
import { makeSoak, scenarios } from "./rows/index.ts"
import type { Quantiles } from "./witness.ts"

const results = join(import.meta.dirname, "results")
const page = join(import.meta.dirname, "../docs/faults.md")
const clusterPage = join(import.meta.dirname, "../docs/cluster.md")

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

const show = (millis: number): string => (millis / 1000).toFixed(millis < 100 && millis > 0 ? 2 : 1)

const three = ({ count, max, p50, p99 }: Quantiles): string =>
  count === 0 ? "" : `${[p50, p99, max].map(show).join(" / ")} s`

/** The time until the program was ready, or all devices received again. */
const recovered = ({ cluster, recoveries }: Outcome): string =>
  cluster === undefined ? spread(recoveries) : `${show(cluster.back.p50)} s, at most ${show(cluster.back.max)} s`

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
  const ready = outcome.recoveries.length === 0 ? "" : ` · ready again after ${recovered(outcome)}`
  const cluster = outcome.cluster === undefined ? "" : ` · ${clusterLine(outcome.cluster)}`
  return `${
    isSound(outcome) ? "✓" : "✗"
  } ${scenario.name}: ${figures}${ready}${cluster} · ${outcome.seconds} s, seed ${outcome.seed}${verdict}`
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
    cell(recovered(outcome))
  ]
}

const clusterLine = (found: ClusterFigures): string =>
  `${found.repetitions} repetitions; back ${three(found.back)}; dark ${
    three(found.dark)
  } (${found.dark.count}); moved ${three(found.moved)} (${found.moved.count}); two sockets ${
    three(found.doubled)
  } (${found.doubled.count}), afterwards ${
    three(found.doubledAfter)
  } (${found.doubledAfter.count}); not back ${found.unreturned}; stale decisions ${found.staleTried}, recorded ${found.staleLanded}; ${found.sends} messages, sent twice ${found.resent}`

const clusterHeads = [
  "row",
  "lease, devices",
  "times",
  "all devices receive again after",
  "a device that the fault disconnects is without a socket for",
  "a device that moves as planned is without a socket for",
  "two nodes have a socket of a device for at most, during the fault and after",
  "never reconnected",
  "stale decisions refused / recorded",
  "messages / sent twice",
  "lost / unnamed"
]

/** The rows with several nodes, with their last outcomes. Times are p50 / p99 / longest. */
export const clusterSection = (): string =>
  table(
    clusterHeads,
    scenarios.flatMap(({ cluster, name }) => {
      if (cluster === undefined) return []
      const outcome = read(name)
      const found = outcome?.cluster
      if (outcome === null || found === undefined) {
        return [[
          `\`${name}\``,
          "not run yet",
          ...clusterHeads.slice(2).map(() => "")
        ]]
      }
      return [[
        `\`${name}\``,
        `${found.lease}, ${found.devices}`,
        String(found.repetitions),
        three(found.back),
        `${three(found.dark)} (${found.dark.count})`,
        `${three(found.moved)} (${found.moved.count})`,
        `${show(found.doubled.max)} s, ${show(found.doubledAfter.max)} s`,
        String(found.unreturned),
        `${found.staleTried - found.staleLanded} / ${found.staleLanded}`,
        `${found.sends} / ${found.resent}`,
        `${outcome.broken["lost"]?.length ?? 0} / ${outcome.broken["unnamed"]?.length ?? 0}`
      ]]
    })
  )

/** Minutes of the soak on the page. */
const usualSoak = 30

const heads = [
  "row",
  "what happens",
  "result",
  "events",
  "lost / doubled rows",
  "missed + unheard, recovered",
  "delivered again",
  "ready again after (median)"
]

/** The mutants, and the violation for which each is detected. */
export const condemnations = (): string =>
  table(
    ["mutant", "what it does", "detected by", "as"],
    mutants.map(({ condemned, name, rows, title }) => [
      name,
      cell(title),
      rows.map((row) => `\`${row}\``).join(", "),
      condemned.join(" or ")
    ])
  )

export const section = (): string =>
  table(heads, [...scenarios.filter(({ name }) => !name.endsWith("-smoke")), makeSoak(usualSoak)].map(row))

/** The numbered faults, and the tests of each. */
export const list = (): string =>
  table(
    ["", "area", "fault", "tested by"],
    faultList.map(({ area, fault, not, number, rows = [], tests = [] }) => [
      String(number),
      area,
      cell(fault),
      cell([
        ...rows.map((name) => `\`${name}\``),
        ...tests.map(([file, title]) => `[${title}…](../${file})`),
        ...(not === undefined ? [] : [rows.length + tests.length === 0 ? `${not}.` : `not tested: ${not}.`])
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

export const updateCluster = (text: string): string => fill(text, "cluster", clusterSection())

const pages = [[page, update], [clusterPage, updateCluster]] as const

export const write = (): void => {
  for (const [path, fresh] of pages) writeFileSync(path, fresh(readFileSync(path, "utf8")))
}

export const isCurrent = (): boolean =>
  pages.every(([path, fresh]) => readFileSync(path, "utf8") === fresh(readFileSync(path, "utf8")))
