/**
 * Whether memory, open files and fibers stay level: medians of one measurement per second, and the objects in
 * the heap after a garbage collection, by class.
 */
import { existsSync, rmSync } from "node:fs"
import { join } from "node:path"
import { Effect } from "effect"
import { run } from "../test/support/servers/ServerSource.ts"
import { until } from "../test/support/until.ts"
import type { Arrangement } from "./Arrangement.ts"

export interface Sample {
  readonly resident: number
  readonly files: number
}

/** The content of the heap. */
export interface HeapCount {
  readonly megabytes: number
  readonly fibers: number
}

export interface Trend {
  /** Medians of resident megabytes and open files, in the second and in the last fifth of the row. */
  readonly resident: readonly [number, number]
  readonly files: readonly [number, number]
  /** After a fifth, after three fifths, and at the end; empty where it was not counted. */
  readonly heaps: ReadonlyArray<HeapCount>
}

export const findTrend = (samples: ReadonlyArray<Sample>, heaps: ReadonlyArray<HeapCount>): Trend => {
  const fifth = Math.max(1, Math.floor(samples.length / 5))
  const medians = (of: keyof Sample) => {
    const middle = (from: number) => {
      const sorted = samples.slice(from, from + fifth).map((sample) => sample[of]).sort((left, right) => left - right)
      return Math.round(sorted[Math.floor(sorted.length / 2)] ?? 0)
    }
    return [middle(fifth), middle(Math.max(0, samples.length - fifth))] as const
  }
  return { resident: medians("resident"), files: medians("files"), heaps }
}

/** The tolerance for late garbage collection, changing connections and work in progress. */
const residentSlack = 40
const filesSlack = 20
const heapSlack = 8
const fibersSlack = 100

export const findGrowth = ({ files, heaps, resident }: Trend): ReadonlyArray<string> => {
  const [first, last] = [heaps[0], heaps.at(-1)]
  const grew = (what: string, from: number, to: number, slack: number) =>
    to > from + slack ? [`${from} ${what} became ${to}`] : []
  return [
    // Memory that a snapshot needed stays resident: where there are any, the heap is judged and not the resident memory.
    ...(heaps.length > 0 ? [] : grew("MB resident", ...resident, residentSlack)),
    ...grew("open files", ...files, filesSlack),
    ...(first === undefined || last === undefined ? [] : [
      ...grew("MB of heap", first.megabytes, last.megabytes, heapSlack),
      ...grew("fibers", first.fibers, last.fibers, fibersSlack)
    ])
  ]
}

/** The program writes a heap snapshot, which suspends it for some seconds. */
export const countHeap = (on: Arrangement): Effect.Effect<HeapCount> =>
  Effect.gen(function*() {
    yield* on.columba.snapshotHeap
    yield* until("the snapshot of the heap is there", Effect.sync(() => existsSync(on.heapFile)), "120 seconds")
    // In a separate process: the proxies and the endpoint must continue meanwhile.
    const counted = yield* Effect.orDie(run([process.execPath, counter, on.heapFile], countMillisMax))
    yield* Effect.sync(() => rmSync(on.heapFile))
    return JSON.parse(counted) as HeapCount
  })

const counter = join(import.meta.dirname, "program/countHeap.mjs")

/** Some hundred megabytes of JSON. */
const countMillisMax = 300_000
