/**
 * Runs one row: load, faults at seeded moments of it, then quiet. While faults strike only safety counts; once all is
 * healed the program must get everything through by itself within a bound. Then the ledgers are compared.
 */
import { copyFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { Effect, Fiber, Option } from "effect"
import type { Scope } from "effect"
import type { Gap } from "../src/domain/Gap.ts"
import { seeded } from "../src/simulator/Seeded.ts"
import type { Seeded } from "../src/simulator/Seeded.ts"
import { check } from "../test/support/Checker.ts"
import type { Verdict } from "../test/support/Checker.ts"
import { checkGaps } from "../test/support/GapChecker.ts"
import { until } from "../test/support/until.ts"
import * as Arrangement from "./Arrangement.ts"
import type { Fault, Scenario } from "./Scenario.ts"
import type { Servers } from "./Servers.ts"
import { strike } from "./strikes.ts"

export interface Outcome {
  readonly name: string
  readonly seed: string
  readonly counts: Verdict["counts"]
  /** Class and examples of everything that broke a promise, of all rows or of this one. */
  readonly broken: Readonly<Record<string, ReadonlyArray<string>>>
  /** From a fault until the program was ready again, less the fault's own length, in milliseconds, in order. */
  readonly recoveries: ReadonlyArray<number>
  /** Times that the reader of the stream had to resume. */
  readonly resumed: number
  /** The most resident memory that was seen, in megabytes. */
  readonly residentMax: number
  /** Medians of resident megabytes and open files, in the second and in the last fifth of the row. */
  readonly trend: { readonly resident: readonly [number, number]; readonly files: readonly [number, number] }
  readonly seconds: number
}

export const isSound = (outcome: Outcome): boolean => Object.keys(outcome.broken).length === 0

export interface Progress {
  readonly emitted: number
  readonly of: number
  readonly logged: number
  readonly delivered: number
  /** What happens now. */
  readonly phase: string
}

/** Longer than the longest waits of the program's own: it looks at what was away, or is silent, every minute. */
const settleTimeout = "150 seconds"

/** Events that a recorder or a log may still be behind with when nothing more comes. */
const quietMillis = 1_000

interface Moment {
  /** Events emitted when it strikes. */
  readonly at: number
  /** Events that are emitted in this part of the load. The next part begins when the fault is over. */
  readonly end: number
  readonly fault: Fault
}

/** One moment in each of as many equal parts of the load, anywhere in its first two thirds; faults in seeded order. */
export const planMoments = (scenario: Scenario, seed: string): ReadonlyArray<Moment> => {
  const random = seeded(`${seed}/moments`)
  const kinds = scenario.faults.flatMap(({ fault, times }) => Array.from({ length: times }, () => fault))
  // Steps of a clock are told in their order.
  const order = scenario.area === "time" ? kinds : shuffle(kinds, random)
  const part = scenario.load.events / order.length
  return order.map((fault, index) => ({
    fault,
    at: Math.floor((index + 0.1 + random.next() * 0.55) * part),
    end: Math.floor((index + 1) * part)
  }))
}

const shuffle = <A>(items: ReadonlyArray<A>, random: Seeded): ReadonlyArray<A> =>
  items.map((item) => [random.next(), item] as const).sort(([left], [right]) => left - right).map(([, item]) => item)

export const runScenario = Effect.fnUntraced(function*(
  scenario: Scenario,
  options: {
    readonly seed: string
    readonly servers: Servers
    readonly program: string
    readonly onProgress: (progress: Progress) => void
    /** Where the ledgers of a row go that broke a promise. */
    readonly ledgersTo?: string | undefined
  }
): Effect.fn.Return<Outcome, never, Scope.Scope> {
  const { onProgress, program, seed, servers } = options
  const { load } = scenario
  const began = performance.now()
  const phase = { now: "starting" }
  onProgress({ emitted: 0, of: load.events, logged: 0, delivered: 0, phase: phase.now })
  const on = yield* Arrangement.make(scenario, seed, servers, program)
  yield* on.online
  const figures = { emitted: 0, deaths: 0 }
  const samples: Array<Sample> = []
  const look = Effect.gen(function*() {
    figures.emitted = (yield* on.simulator.stats).events
    if (yield* on.columba.running) {
      samples.push({ resident: yield* on.columba.residentMegabytes, files: yield* on.columba.openFiles })
    } else figures.deaths++
    onProgress({
      emitted: figures.emitted,
      of: load.events,
      logged: yield* on.reader.highest,
      delivered: yield* on.recorder.recorded,
      phase: phase.now
    })
  }).pipe(Effect.catchCause(() => Effect.void))
  const looking = yield* Effect.forkScoped(Effect.forever(Effect.andThen(look, Effect.sleep("1 second"))))

  phase.now = "load"
  const recoveries: Array<number> = []
  const moments = planMoments(scenario, seed)
  const emitted = Effect.map(on.simulator.stats, ({ jobs }) => jobs.length === 0)
  let begun = 0
  for (const [index, { at, end, fault }] of moments.entries()) {
    yield* on.simulator.emit({ count: end - begun, rate: load.rate })
    begun = end
    yield* until(
      `${at} events were emitted`,
      Effect.map(on.simulator.stats, ({ events }) => events >= at),
      "15 minutes"
    )
    yield* on.witness
    phase.now = `fault ${index + 1}/${moments.length}: ${describe(fault)}`
    const struckAt = performance.now()
    yield* strike(on, fault)
    phase.now = "recovering"
    yield* on.ready
    recoveries.push(Math.max(0, Math.round(performance.now() - struckAt - ("millis" in fault ? fault.millis : 0))))
    phase.now = "load"
    yield* until("the part of the load was emitted", emitted, "15 minutes")
  }
  yield* on.ready
  phase.now = "settling"
  yield* on.online
  const unsettled = yield* settle(on, scenario)
  phase.now = "checking"
  const ledgers = yield* on.ledgers
  const verdict = check(ledgers)
  const gapVerdict = checkGaps(ledgers)
  yield* Fiber.interrupt(looking)
  const residentMax = Math.round(Math.max(0, ...samples.map(({ resident }) => resident)))
  const trend = findTrend(samples)
  const survived = yield* on.columba.running
  const { code } = yield* on.columba.terminate
  const broken = Object.fromEntries(
    Object.entries({
      ...verdict.violations,
      missed: scenario.expect.missed === "none" ? verdict.missed : [],
      unrecovered: verdict.unrecovered,
      unnamed: gapVerdict.unnamed,
      untrue: gapVerdict.untrue,
      stuck: unsettled === null ? [] : [unsettled],
      died: scenario.expect.survives && (figures.deaths > 0 || !survived) ? ["the program ended during the row"] : [],
      exit: code === 0 ? [] : [`the program ended with ${code}`],
      memory: residentMax > (scenario.expect.residentMax ?? Infinity) ? [`${residentMax} MB were resident`] : [],
      trend: scenario.expect.level === true ? findGrowth(trend) : [],
      short: verdict.counts.emitted >= load.events && verdict.counts.committed >= load.events / 10
        ? []
        : [`only ${verdict.counts.emitted} were emitted and ${verdict.counts.committed} committed`]
    }).filter(([, found]) => found.length > 0)
  )
  const { ledgersTo } = options
  if (ledgersTo !== undefined && Object.keys(broken).length > 0) {
    const told = { ...ledgers, upstreamOf: [...ledgers.upstreamOf] }
    const base = join(ledgersTo, `${scenario.name}-${seed}`)
    yield* Effect.sync(() => {
      writeFileSync(`${base}.json`, JSON.stringify(told))
      copyFileSync(on.columba.logFile, `${base}.log`)
    })
  }
  return {
    name: scenario.name,
    seed,
    counts: verdict.counts,
    broken,
    recoveries,
    resumed: yield* on.reader.resumed,
    residentMax,
    trend,
    seconds: Math.round((performance.now() - began) / 1000)
  }
})

interface Sample {
  readonly resident: number
  readonly files: number
}

const findTrend = (samples: ReadonlyArray<Sample>): Outcome["trend"] => {
  const fifth = Math.max(1, Math.floor(samples.length / 5))
  const medians = (of: keyof Sample) => {
    const middle = (from: number) => {
      const sorted = samples.slice(from, from + fifth).map((sample) => sample[of]).sort((left, right) => left - right)
      return Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0)
    }
    return [middle(fifth), middle(Math.max(0, samples.length - fifth))] as const
  }
  return { resident: medians("resident"), files: medians("files") }
}

/** What garbage that is collected late, and connections that come and go, may make of a level line. */
const residentSlack = 40
const filesSlack = 20

const findGrowth = ({ files, resident }: Outcome["trend"]): ReadonlyArray<string> => [
  ...(resident[1] > resident[0] + residentSlack ? [`${resident[0]} MB resident became ${resident[1]} MB`] : []),
  ...(files[1] > files[0] + filesSlack ? [`${files[0]} open files became ${files[1]}`] : [])
]

/**
 * Until every gap is closed, every reader has the whole log and it no longer grows. No open gap means that nothing is missing,
 * except where a gateway posts its events: one that could not reach us gave up without our notice, which is found by looking,
 * within a minute. Returns what it still waits for when the time is over; null if nothing.
 */
const settle = Effect.fnUntraced(function*(on: Arrangement.Arrangement, scenario: Scenario) {
  const waiting = { for: "an answer" }
  const findMotion = Effect.gen(function*() {
    const queued = yield* on.columba.metric("columba_log_queue_events")
    if (queued > 0) return `${queued} events that wait for the log`
    const before = yield* on.head
    yield* Effect.sleep(quietMillis)
    const head = yield* on.head
    if (head !== before) return `the log, which grew from ${before} to ${head}`
    const [delivered, streamed] = [yield* on.recorder.highest, yield* on.reader.highest]
    if (Math.min(delivered, streamed) < head) return `readers that have ${delivered} and ${streamed} of ${head}`
    const { items } = yield* on.columba.get<{ readonly items: ReadonlyArray<Gap> }>("/api/v1/gaps?status=open")
    const [gap] = items
    if (gap !== undefined) return `${items.length} open gaps, one ${gap.cause} since ${gap.openedAt}: ${gap.detail}`
    if (scenario.dialect !== "gowa") return null
    const { unrecovered } = check(yield* on.ledgers)
    return unrecovered.length === 0 ? null : `${unrecovered.length} messages of the history`
  })
  const quiet = Effect.map(findMotion, (motion) => {
    waiting.for = motion ?? ""
    return motion === null
  })
  const settled = yield* until("nothing is missing and nothing moves", quiet, "10 minutes").pipe(
    Effect.andThen(on.recorder.drained),
    Effect.timeoutOption(scenario.settle ?? settleTimeout)
  )
  return Option.isSome(settled) ? null : `it waited for ${waiting.for}`
})

export const describe = ({ do: name, ...settings }: Fault): string =>
  Object.keys(settings).length === 0 ? name : `${name} ${JSON.stringify(settings)}`
