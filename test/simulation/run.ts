/**
 * `npm run simulate`: simulated worlds, one after the other. Ends with 1 if a promise was broken in one of them.
 *
 *     npm run simulate                               # 20 seeds, 24 hours each
 *     npm run simulate -- --seeds 200 --hours 100    # more
 *     npm run simulate -- --from 200 --seeds 100     # others
 *     npm run simulate -- --mutants --seeds 50       # programs that break a promise on purpose (all, or those named)
 *     npm run simulate -- --seed 17 --hours 100      # one again, with what happened; it repeats exactly
 */
import { parseArgs } from "node:util"
import { isSound } from "./judge.ts"
import { simulate } from "./Simulation.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "20" },
    from: { type: "string", default: "0" },
    hours: { type: "string", default: "24" },
    seed: { type: "string" },
    mutants: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
    "until-broken": { type: "boolean", default: false }
  }
})

const hours = Number(values.hours)
const from = Number(values.from)
const seeds = values.seed === undefined
  ? Array.from({ length: Number(values.seeds) }, (_, index) => String(from + index))
  : [values.seed]
const show = values.seed === undefined || values.quiet ? undefined : (line: string) => console.log(line)

if (values.mutants) {
  const { runMutants } = await import("./runMutants.ts")
  process.exit(await runMutants(positionals, Number(values.seeds), hours))
}

let simulated = 0
let broken = 0
for (const seed of seeds) {
  const outcome = await simulate(seed, { hours, show })
  simulated += outcome.hours
  const { charges, counts } = outcome.judgement
  const figures = `${counts["emitted"]} emitted, ${counts["missing"]} missing, ${counts["gaps"]} gaps, ` +
    `${outcome.lives} lives, ${outcome.steps} steps, ${outcome.digest}`
  if (isSound(outcome.judgement)) {
    console.log(`seed ${seed}: sound; ${figures}`)
    continue
  }
  broken++
  console.log(`seed ${seed}: BROKEN; ${figures}\n  ${outcome.plan}`)
  for (const [charge, examples] of Object.entries(charges)) {
    console.log(`  ${charge.toUpperCase()}: ${examples.join("; ")}`)
  }
  if (values["until-broken"]) break
}
const { system, user } = process.cpuUsage()
const seconds = (system + user) / 1_000_000
console.log(
  `${Math.round(simulated)} hours in ${seconds.toFixed(1)} s of processor: ${
    (simulated / seconds).toFixed(1)
  } hours per second; ` +
    `${broken} of ${seeds.length} broken`
)
process.exitCode = broken > 0 ? 1 : 0
