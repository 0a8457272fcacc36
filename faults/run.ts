/**
 * `npm run faults`: runs rows of the suite against the built program, shows the progress, and ends with one
 * line per row. Results are stored and written into docs/faults.md. `--help` lists the options.
 */
import { parseArgs } from "node:util"
import { NodeRuntime } from "@effect/platform-node"
import { Cause, Duration, Effect, Exit } from "effect"
import { buildProgram, isProgramCurrent } from "../scripts/build.ts"
import { mutants } from "./mutants.ts"
import type { Mutant } from "./mutants.ts"
import { buildChanged } from "./planted.ts"
import type { Planted } from "./planted.ts"
import { builtMain } from "./program.ts"
import * as Progress from "./progress.ts"
import { keep, line, write } from "./report.ts"
import { isSound, runScenario } from "./runScenario.ts"
import type { Outcome } from "./runScenario.ts"
import type { Scenario } from "./Scenario.ts"
import { makeSoak, scenarios } from "./rows/index.ts"
import * as Servers from "./Servers.ts"

const usage = `npm run faults                        # every row but the soak; about an hour
npm run faults -- kill headline       # these rows
npm run faults -- --area broker       # the rows of one area
npm run faults -- --smoke             # the rows of every test run
npm run faults -- kill --seed other   # the same with other choices
npm run faults -- --mutants           # programs that break a promise on purpose (all, or those named): each must be condemned
npm run faults -- --soak 30           # a fault per minute, for this many minutes
npm run faults -- cluster-kill --times 200   # this many repetitions of each fault of the row
npm run faults -- cluster-large --devices 1000   # with this many devices; the results are not kept
npm run faults -- kill --ledgers dir  # keeps what each party has written down of a row that breaks a promise
npm run faults -- --list`

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seed: { type: "string" },
    area: { type: "string" },
    smoke: { type: "boolean", default: false },
    mutants: { type: "boolean", default: false },
    soak: { type: "string" },
    times: { type: "string" },
    devices: { type: "string" },
    ledgers: { type: "string" },
    list: { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
    "no-results": { type: "boolean", default: false }
  }
})

/** The tables are about the rows as they are written down. */
const keepsResults = !values["no-results"] && values.devices === undefined

const choose = (): ReadonlyArray<Scenario> => {
  if (values.soak !== undefined) return [makeSoak(Number(values.soak))]
  const known = values.mutants ? mutants : scenarios
  const unknown = positionals.filter((name) => !known.some((one) => one.name === name))
  if (unknown.length > 0) throw new Error(`no row is called ${unknown.join(", ")}; --list names them`)
  // In the order of the command line.
  if (positionals.length > 0 && !values.mutants) {
    const found = positionals.map((name) => resize(scenarios.find((scenario) => scenario.name === name)!))
    return values.times === undefined ? found : found.map((scenario) => repeat(scenario, Number(values.times)))
  }
  return scenarios.filter((scenario) =>
    values.smoke || values.mutants
      ? values.smoke && scenario.smoke
      : values.area !== undefined
      ? scenario.area === values.area && !scenario.name.endsWith("-smoke")
      : !scenario.name.endsWith("-smoke")
  )
}

const resize = (scenario: Scenario): Scenario =>
  values.devices === undefined
    ? scenario
    : { ...scenario, load: { ...scenario.load, devices: Number(values.devices) } }

/** This many repetitions of each fault, under a load that grows with them. */
const repeat = (scenario: Scenario, times: number): Scenario => {
  const before = scenario.faults.reduce((sum, fault) => sum + fault.times, 0)
  const factor = times * scenario.faults.length / before
  return {
    ...scenario,
    faults: scenario.faults.map((fault) => ({ ...fault, times })),
    load: { ...scenario.load, events: Math.round(scenario.load.events * factor) },
    ...(scenario.sends === undefined ? undefined : { sends: Math.round(scenario.sends * factor) })
  }
}

/** A mutant of the file in which a row plants something includes the plant. */
const buildPlanted = (plant: Planted, mutant: Mutant | null) =>
  mutant === null ? buildChanged([plant]) : buildChanged(plant.file === mutant.file ? [mutant] : [plant, mutant])

const runOne = (scenario: Scenario, servers: Servers.Servers, program = builtMain, mutant: Mutant | null = null) =>
  Effect.scoped(Effect.gen(function*() {
    const planted = scenario.plant === undefined ? null : yield* buildPlanted(scenario.plant, mutant)
    return yield* runScenario(scenario, {
      seed: values.seed ?? scenario.name,
      servers,
      programs: { program, planted },
      onProgress: Progress.make(scenario.name),
      ledgersTo: values.ledgers
    })
  }))

/** A mutant does not find lost events later; one sleeps for ten seconds before it shows what it has. */
const mutantSettle = Duration.seconds(20)

/** Some never come to rest. */
const mutantSettleMax = Duration.seconds(40)

/**
 * Maximum number of attempts at a row. A crash that is to lose data before it is on disk must come at the right moment, which the
 * seed does not decide.
 */
const triesMax = 3

/** Whether each of its rows detected it for its violation. */
const judge = Effect.fnUntraced(function*(mutant: Mutant, servers: Servers.Servers) {
  const program = yield* buildChanged([mutant])
  const verdicts: Array<boolean> = []
  for (const name of values.smoke ? mutant.rows.slice(0, 1) : mutant.rows) {
    const scenario = scenarios.find((one) => one.name === name)!
    let condemned = false
    for (let attempt = 1; attempt <= triesMax && !condemned; attempt++) {
      // A program that has lost something never comes to rest.
      const bounds = { name: `${mutant.name}-${attempt}`, settle: mutantSettle, settleMax: mutantSettleMax }
      const { broken } = yield* runOne({ ...scenario, ...bounds }, servers, program, mutant)
      const found = Object.entries(broken)
      condemned = found.some(([violation]) => mutant.condemned.some((one) => one === violation))
      const violations = found.map(([violation, { length }]) => `${violation} ${length}`).join(", ") || "nothing broken"
      console.log(`${condemned ? "✓" : "✗"} mutant ${mutant.name} (${mutant.title}) on ${name}: ${violations}`)
    }
    verdicts.push(condemned)
  }
  return verdicts.every((condemned) => condemned)
}, Effect.scoped)

const chosen = choose()
const chosenMutants = values.mutants
  ? mutants.filter(({ name, smoke }) => positionals.length === 0 ? smoke || !values.smoke : positionals.includes(name))
  : []
const main = Effect.gen(function*() {
  if (!isProgramCurrent()) yield* Effect.promise(() => buildProgram())
  const failed: Array<string> = []
  const lines: Array<string> = []
  const servers = yield* Servers.make
  for (const scenario of chosen) {
    const exit = yield* Effect.exit(runOne(scenario, servers))
    if (Exit.isFailure(exit)) process.stderr.write(`${Cause.pretty(exit.cause)}\n`)
    if (process.stderr.isTTY) process.stderr.write("\r\u001b[K")
    const text = Exit.isSuccess(exit)
      ? line(scenario, exit.value)
      : `✗ ${scenario.name}: ${Cause.pretty(exit.cause).split("\n").slice(0, 3).join(" ")}`
    const outcome: Outcome | null = Exit.isSuccess(exit) ? exit.value : null
    if (outcome === null || !isSound(outcome)) failed.push(scenario.name)
    if (outcome !== null && keepsResults) keep(outcome)
    lines.push(text)
    console.log(text)
  }
  for (const mutant of chosenMutants) {
    const exit = yield* Effect.exit(judge(mutant, servers))
    if (Exit.isFailure(exit)) console.log(`✗ mutant ${mutant.name}: ${Cause.pretty(exit.cause)}`)
    if (Exit.isFailure(exit) || !exit.value) failed.push(mutant.name)
  }
  Progress.over()
  if (lines.length > 1) console.log(`\n${lines.join("\n")}`)
  if (keepsResults) write()
  const ran = `${chosen.length} rows hold${values.mutants ? ` and ${chosenMutants.length} mutants were condemned` : ""}`
  console.log(failed.length === 0 ? `\nall ${ran}` : `\nnot as it should be: ${failed.join(", ")}`)
  process.exitCode = failed.length === 0 ? 0 : 1
}).pipe(Effect.scoped)

if (values.help) {
  process.stdout.write(`${usage}\n`)
  process.exit(0)
}
if (values.list) {
  for (const { area, load, name, smoke, title } of chosen) {
    console.log(`${name.padEnd(20)} ${area.padEnd(10)} ${smoke ? "smoke" : "     "} ${load.events} events · ${title}`)
  }
} else NodeRuntime.runMain(main)
