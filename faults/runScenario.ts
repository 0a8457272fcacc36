/**
 * Runs one row: load, faults at seeded moments of it, then quiet. While faults strike only safety counts; once all are
 * healed the program must deliver everything by itself within a bound. Then the ledgers are compared.
 */
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Fiber } from "effect"
import type { Scope } from "effect"
import { check } from "../test/support/Checker.ts"
import type { Verdict } from "../test/support/Checker.ts"
import { checkGaps } from "../test/support/GapChecker.ts"
import { until } from "../test/support/until.ts"
import * as Arrangement from "./Arrangement.ts"
import { findFigures } from "./cluster/figures.ts"
import type { ClusterFigures } from "./cluster/figures.ts"
import { judge } from "./judge.ts"
import type { Broken } from "./judge.ts"
import * as Load from "./load.ts"
import { describe, planMoments } from "./moments.ts"
import type { Scenario } from "./Scenario.ts"
import type { Servers } from "./Servers.ts"
import { settle } from "./settle.ts"
import { strike } from "./strikes/index.ts"
import { countHeap, findTrend } from "./trend.ts"
import type { HeapCount, Sample, Trend } from "./trend.ts"

export interface Outcome {
  readonly name: string
  readonly seed: string
  readonly counts: Verdict["counts"]
  /** Number of lost events without a gap or other record. */
  readonly untold: number
  /** Class and examples of all violations, of the promises of all rows or of this one. */
  readonly broken: Partial<Broken>
  /** From a fault until the program was ready again, less the fault's own length, in milliseconds, in order. */
  readonly recoveries: ReadonlyArray<number>
  /** How often the reader of the stream had to resume. */
  readonly resumed: number
  /** The highest observed resident memory, in megabytes. */
  readonly residentMax: number
  /** Medians of resident megabytes and open files, in the second and in the last fifth of the row. */
  readonly trend: Trend
  /** Number of connection attempts to the gateway. */
  readonly attempts: number
  readonly seconds: number
  /** For a row with several nodes. */
  readonly cluster?: ClusterFigures
}

export const isSound = (outcome: Outcome): boolean => Object.keys(outcome.broken).length === 0

export interface Progress {
  readonly emitted: number
  readonly of: number
  readonly logged: number
  readonly delivered: number
  /** The current phase. */
  readonly phase: string
}

/** At the start, with nothing broken yet. */
const onlineTimeout = "120 seconds"

export const runScenario = Effect.fnUntraced(function*(
  scenario: Scenario,
  options: {
    readonly seed: string
    readonly servers: Servers
    /** The shipped program, and the one with the row's planted change. */
    readonly programs: { readonly program: string; readonly planted: string | null }
    readonly onProgress: (progress: Progress) => void
    /** The directory for the ledgers of a row that broke a promise. */
    readonly ledgersTo?: string | undefined
  }
): Effect.fn.Return<Outcome, never, Scope.Scope> {
  const { onProgress, programs, seed, servers } = options
  const { load } = scenario
  const began = performance.now()
  const phase = { now: "starting" }
  onProgress({ emitted: 0, of: load.events, logged: 0, delivered: 0, phase: phase.now })
  const on = yield* Arrangement.make(scenario, seed, servers, programs)
  yield* until("every device is online", on.online, onlineTimeout)
  const figures = { emitted: 0, deaths: 0 }
  const samples: Array<Sample> = []
  const look = Effect.gen(function*() {
    figures.emitted = (yield* on.simulator.stats).events
    if (yield* on.columba.running) {
      samples.push({ resident: yield* on.columba.residentMegabytes, files: yield* on.columba.openFiles })
    } else {
      figures.deaths++
      // Like a supervisor: other violations of a program that ends by itself are judged too.
      if (scenario.expect.survives) yield* on.columba.start
    }
    onProgress({
      emitted: figures.emitted,
      of: load.events,
      logged: yield* on.reader.highest,
      delivered: yield* on.recorder.recorded,
      phase: phase.now
    })
  }).pipe(Effect.catchCause(() => Effect.void))
  const heaps: Array<HeapCount> = []
  const weigh = scenario.expect.level === true ? Effect.map(countHeap(on), (heap) => heaps.push(heap)) : Effect.void
  const looking = yield* Effect.forkScoped(Effect.forever(Effect.andThen(look, Effect.sleep("1 second"))))

  phase.now = "load"
  const weighAt = [0.2, 0.6].map((share) => Math.floor(share * load.events))
  const recoveries: Array<number> = []
  const unmet: Array<string> = []
  const client = on.sending === null ? null : yield* on.sending
  const moments = planMoments(scenario, seed)
  const emitting = yield* Load.start(scenario, on.simulator)
  for (const [index, moment] of moments.entries()) {
    const { at, fault } = moment
    yield* emitting.untilStrike(moment)
    yield* on.witness
    if (weighAt[0] !== undefined && weighAt[0] <= at) {
      weighAt.shift()
      yield* weigh
    }
    phase.now = `fault ${index + 1}/${moments.length}: ${describe(fault)}`
    const struckAt = performance.now()
    // A fault defines its required effect, where that is more than the program's recovery.
    unmet.push(
      ...yield* strike(on, fault).pipe(
        Effect.as([]),
        Effect.catchDefect((defect) => Effect.succeed([`${describe(fault)}: ${String(defect).split("\n")[0]}`]))
      )
    )
    phase.now = "recovering"
    yield* on.ready
    recoveries.push(Math.max(0, Math.round(performance.now() - struckAt - ("millis" in fault ? fault.millis : 0))))
    phase.now = "load"
    yield* emitting.untilEnd(moment)
  }
  yield* emitting.stop
  yield* on.ready
  if (client !== null) {
    phase.now = "messages are accepted"
    yield* client.finished
  }
  phase.now = "settling"
  const unsettled = yield* settle(on, scenario, client)
  yield* weigh
  phase.now = "checking"
  const ledgers = yield* on.ledgers
  const cluster = on.cluster === null ? null : findFigures({
    ...on.cluster,
    devices: load.devices,
    bySocket: scenario.dialect !== "gowa",
    changes: yield* on.cluster.changes,
    audit: yield* on.cluster.audit,
    sends: ledgers.sends
  })
  yield* Fiber.interrupt(looking)
  const residentMax = Math.round(Math.max(0, ...samples.map(({ resident }) => resident)))
  const trend = findTrend(samples, heaps)
  const { accepted, refused } = yield* on.simulator.stats
  const survived = yield* on.columba.running
  const { code } = yield* on.columba.terminate
  // Not before: nodes would lose their leases, since the way to their database leads through this process.
  const verdict = check(ledgers)
  const broken = judge(scenario, {
    ledgers,
    unmet,
    unsettled,
    residentMax,
    trend,
    cluster,
    unreturned: on.cluster?.unreturned ?? [],
    landed: on.cluster === null ? [] : (yield* on.cluster.audit).landed,
    attempts: accepted + refused,
    died: figures.deaths > 0 || !survived,
    exitCode: code
  })
  const { ledgersTo } = options
  if (ledgersTo !== undefined && Object.keys(broken).length > 0) {
    const kept = { ...ledgers, upstreamOf: [...ledgers.upstreamOf] }
    const base = join(ledgersTo, `${scenario.name}-${seed}`)
    yield* Effect.sync(() => {
      mkdirSync(ledgersTo, { recursive: true })
      writeFileSync(`${base}.json`, JSON.stringify(kept))
      const logs = on.cluster?.nodes.map(({ logFile }) => logFile) ?? [on.columba.logFile]
      for (const [index, log] of logs.entries()) {
        copyFileSync(log, index === 0 ? `${base}.log` : `${base}-${index + 1}.log`)
      }
    })
  }
  return {
    name: scenario.name,
    seed,
    counts: verdict.counts,
    untold: checkGaps(ledgers).untold.length,
    broken,
    recoveries,
    ...(cluster === null ? undefined : { cluster }),
    resumed: yield* on.reader.resumed,
    residentMax,
    trend,
    attempts: accepted + refused,
    seconds: Math.round((performance.now() - began) / 1000)
  }
})
