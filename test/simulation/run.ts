/**
 * `npm run simulate`: simulated worlds, each in one of several threads. Exits with 1 if a promise was broken in one of them.
 *
 *     npm run simulate                               # 20 seeds, 24 hours each
 *     npm run simulate -- --seeds 200 --hours 100    # more
 *     npm run simulate -- --from 200 --seeds 100     # others
 *     npm run simulate -- --threads 1                # one after the other, for timings
 *     npm run simulate -- --mutants --seeds 50       # programs that break a promise on purpose (all, or those named)
 *     npm run simulate -- --among 3,17,29             # these
 *     npm run simulate -- --until lost,forgotten     # only until a world breaks one of these
 *     npm run simulate -- --seed 17 --hours 100      # one again, with what happened; it repeats exactly
 */
import { once } from "node:events"
import { availableParallelism } from "node:os"
import { parseArgs } from "node:util"
import { isMainThread, parentPort, Worker } from "node:worker_threads"
import { isSound } from "./judge.ts"
import { describePlan, makePlan } from "./Plan.ts"
import { simulate } from "./Simulation.ts"
import type { Outcome } from "./Simulation.ts"

const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "20" },
    from: { type: "string", default: "0" },
    hours: { type: "string", default: "24" },
    threads: { type: "string", default: String(availableParallelism()) },
    seed: { type: "string" },
    among: { type: "string" },
    mutants: { type: "boolean", default: false },
    quiet: { type: "boolean", default: false },
    until: { type: "string" }
  }
})

const hours = Number(values.hours)
const from = Number(values.from)

let simulated = 0
let broken = 0
/** Whether a world broke one of the promises that are looked for. */
let isFound = false
const wanted = new Set(values.until?.split(","))

/** A world that ended by an error of the program or of the simulation itself: it has no outcome. */
interface Ended {
  readonly seed: string
  readonly error: string
}

const attempt = async (seed: string, show?: ((line: string) => void) | undefined): Promise<Outcome | Ended> => {
  try {
    return await simulate(seed, { hours, show })
  } catch (error) {
    return { seed, error: error instanceof Error ? error.stack ?? error.message : String(error) }
  }
}

const report = (outcome: Outcome | Ended): void => {
  if ("error" in outcome) {
    broken++
    console.log(`seed ${outcome.seed}: BROKEN; it ended by an error\n  ${describePlan(makePlan(outcome.seed))}`)
    console.log(`  ENDED: ${outcome.error}`)
    return
  }
  simulated += outcome.hours
  const { charges, counts } = outcome.judgement
  const isBroken = !isSound(outcome.judgement)
  console.log(
    `seed ${outcome.seed}: ${isBroken ? "BROKEN" : "sound"}; ${counts["emitted"]} emitted, ${
      counts["missing"]
    } missing, ` +
      `${counts["gaps"]} gaps, ${
        counts["taken"]
      } taken, ${outcome.lives} lives, ${outcome.steps} steps, ${outcome.digest}`
  )
  if (!isBroken) return
  broken++
  isFound ||= Object.keys(charges).some((charge) => wanted.has(charge))
  console.log(`  ${outcome.plan}`)
  for (const [charge, examples] of Object.entries(charges)) {
    console.log(`  ${charge.toUpperCase()}: ${examples.join("; ")}`)
  }
}

/** Each thread takes the next seed when it is done with one. */
const inThreads = async (seeds: ReadonlyArray<string>, threads: number): Promise<void> => {
  const waiting = [...seeds]
  const isOver = () => waiting.length === 0 || isFound
  await Promise.all(
    Array.from({ length: Math.min(threads, seeds.length) }, async () => {
      const worker = new Worker(new URL(import.meta.url), { argv: process.argv.slice(2) })
      try {
        while (!isOver()) {
          // Rejects only if the thread itself ends: a world that ends by an error is an answer.
          const answer = once(worker, "message")
          // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, and no window
          worker.postMessage(waiting.shift()!)
          report((await answer)[0] as Outcome | Ended)
        }
      } finally {
        await worker.terminate()
      }
    })
  )
}

const main = async (): Promise<number> => {
  if (values.mutants) {
    const { runMutants } = await import("./runMutants.ts")
    return await runMutants(positionals, Number(values.seeds), hours)
  }
  const threads = Number(values.threads)
  if (values.seed !== undefined) {
    const show = values.quiet ? undefined : (line: string) => console.log(line)
    report(await attempt(values.seed, show))
  } else {
    const seeds = values.among?.split(",") ??
      Array.from({ length: Number(values.seeds) }, (_, index) => String(from + index))
    const began = performance.now()
    await inThreads(seeds, threads)
    const perMinute = simulated / (performance.now() - began) * 60_000
    console.log(`${Math.round(perMinute)} hours in a minute, by ${threads} threads`)
  }
  const { system, user } = process.cpuUsage()
  const seconds = (system + user) / 1_000_000
  console.log(
    `${Math.round(simulated)} hours in ${seconds.toFixed(1)} s of processor: ${
      (simulated / seconds).toFixed(1)
    } hours per second; ${broken} broken`
  )
  return broken > 0 ? 1 : 0
}

if (isMainThread) process.exitCode = await main()
else {
  const port = parentPort!
  port.on("message", (seed: string) => {
    void attempt(seed).then((outcome) => port.postMessage(outcome))
  })
}
