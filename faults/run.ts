/**
 * `npm run faults`: runs rows of the suite against the built program, shows what happens while it happens, and ends with one
 * line per row. Results are kept and written into docs/faults.md.
 *
 *     npm run faults                        # every row but the soak; about an hour
 *     npm run faults -- kill headline       # these rows
 *     npm run faults -- --area broker       # the rows of one area
 *     npm run faults -- --smoke             # the rows of every test run
 *     npm run faults -- kill --seed other   # the same with other choices
 *     npm run faults -- --mutants           # programs that break a promise on purpose (all, or those named): each must be condemned
 *     npm run faults -- --soak 30           # a fault per minute, for so many minutes
 *     npm run faults -- kill --ledgers dir  # keeps what each party has written down of a row that breaks a promise
 *     npm run faults -- --list
 */
import { parseArgs } from "node:util"
import { Cause, Effect, Exit } from "effect"
import { buildProgram, isProgramCurrent } from "../scripts/build.ts"
import { buildMutant, mutants } from "./mutants.ts"
import type { Mutant } from "./mutants.ts"
import { builtMain } from "./program.ts"
import { keep, line, write } from "./report.ts"
import { isSound, runScenario } from "./runScenario.ts"
import type { Outcome, Progress } from "./runScenario.ts"
import type { Scenario } from "./Scenario.ts"
import { makeSoak, scenarios } from "./scenarios.ts"
import * as Servers from "./Servers.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    area: { type: "string" },
    smoke: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    soak: { type: "string" },
    ledgers: { type: "string" },
    list: { type: "boolean", default: false },
    "no-results": { type: "boolean", default: false }
  }
})

const choose = (): ReadonlyArray<Scenario> => {
  if (values.soak !== undefined) return [makeSoak(Number(values.soak))]
  const known = values.mutants ? mutants : scenarios
  const unknown = positionals.filter((name) => !known.some((one) => one.name === name))
  if (unknown.length > 0) throw new Error(`no row is called ${unknown.join(", ")}; --list names them`)
  return scenarios.filter((scenario) =>
    positionals.length > 0 && !values.mutants
      ? positionals.includes(scenario.name)
      : values.smoke || values.mutants
      ? values.smoke && scenario.smoke
      : values.area !== undefined
      ? scenario.area === values.area && !scenario.name.endsWith("-smoke")
      : !scenario.name.endsWith("-smoke")
  )
}

/** On a terminal one line that changes; elsewhere a line at every new phase and every ten seconds. */
const makeProgress = (scenario: Scenario) => {
  let shown = { phase: "", at: 0 }
  return ({ delivered, emitted, logged, of, phase }: Progress) => {
    const text = `[${scenario.name}] ${emitted}/${of} emitted, ${logged} in the log, ${delivered} delivered · ${phase}`
    if (process.stderr.isTTY) return void process.stderr.write(`\r\u001b[K${text.slice(0, process.stderr.columns - 1)}`)
    const now = performance.now()
    if (phase === shown.phase && now - shown.at < 10_000) return
    shown = { phase, at: now }
    process.stderr.write(`${text}\n`)
  }
}

const runOne = (scenario: Scenario, servers: Servers.Servers, program = builtMain) =>
  Effect.scoped(runScenario(scenario, {
    seed: values.seed ?? scenario.name,
    servers,
    program,
    onProgress: makeProgress(scenario),
    ledgersTo: values.ledgers
  }))

/** Null where it was condemned for what it does. */
const judge = Effect.fnUntraced(function*(mutant: Mutant, servers: Servers.Servers) {
  const scenario = scenarios.find(({ name }) => name === mutant.row)!
  // A program that has lost something never comes to rest, and what it has lost by then it does not find later.
  const mutated = { ...scenario, name: mutant.name, settle: "30 seconds" } as const
  const { broken } = yield* runOne(mutated, servers, yield* buildMutant(mutant))
  const found = Object.keys(broken)
  const condemned = mutant.condemned.some((violation) => found.includes(violation))
  const told = found.length === 0
    ? "nothing broken"
    : Object.entries(broken).map(([name, { length }]) => `${name} ${length}`).join(", ")
  console.log(`${condemned ? "✓" : "✗"} mutant ${mutant.name} (${mutant.title}) on ${mutant.row}: ${told}`)
  return condemned
}, Effect.scoped)

const chosen = choose()
const chosenMutants = values.mutants
  ? mutants.filter(({ name }) => positionals.length === 0 || positionals.includes(name))
  : []
if (values.list) {
  for (const { area, load, name, smoke, title } of chosen) {
    console.log(`${name.padEnd(20)} ${area.padEnd(10)} ${smoke ? "smoke" : "     "} ${load.events} events · ${title}`)
  }
} else {
  if (!isProgramCurrent()) await buildProgram()
  const failed: Array<string> = []
  const lines: Array<string> = []
  await Effect.runPromise(Effect.scoped(Effect.gen(function*() {
    const servers = yield* Servers.make
    for (const scenario of chosen) {
      const exit = yield* Effect.exit(runOne(scenario, servers))
      if (process.stderr.isTTY) process.stderr.write("\r\u001b[K")
      const text = Exit.isSuccess(exit)
        ? line(scenario, exit.value)
        : `✗ ${scenario.name}: ${Cause.pretty(exit.cause).split("\n").slice(0, 3).join(" ")}`
      const outcome: Outcome | null = Exit.isSuccess(exit) ? exit.value : null
      if (outcome === null || !isSound(outcome)) failed.push(scenario.name)
      if (outcome !== null && !values["no-results"]) keep(outcome)
      lines.push(text)
      console.log(text)
    }
    for (const mutant of chosenMutants) {
      const exit = yield* Effect.exit(judge(mutant, servers))
      if (Exit.isFailure(exit)) console.log(`✗ mutant ${mutant.name}: ${Cause.pretty(exit.cause)}`)
      if (Exit.isFailure(exit) || !exit.value) failed.push(mutant.name)
    }
  })))
  if (lines.length > 1) console.log(`\n${lines.join("\n")}`)
  if (!values["no-results"]) write()
  const ran = `${chosen.length} rows hold${values.mutants ? ` and ${chosenMutants.length} mutants were condemned` : ""}`
  console.log(failed.length === 0 ? `\nall ${ran}` : `\nnot as it should be: ${failed.join(", ")}`)
  process.exitCode = failed.length === 0 ? 0 : 1
}
