/**
 * Whether memory, open files and fibers stay level: medians of what was looked at once per second, and the objects that are in
 * the heap after a collection of garbage, by class.
 */
import { existsSync, readFileSync, rmSync } from "node:fs"
import { Effect } from "effect"
import { until } from "../test/support/until.ts"
import type { Arrangement } from "./Arrangement.ts"

export interface Sample {
  readonly resident: number
  readonly files: number
}

/** What is in the heap. */
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

/** What garbage that is collected late, connections that come and go, and work that is under way may make of a level line. */
const residentSlack = 40
const filesSlack = 20
const heapSlack = 8
const fibersSlack = 100

export const findGrowth = ({ files, heaps, resident }: Trend): ReadonlyArray<string> => {
  const [first, last] = [heaps[0], heaps.at(-1)]
  const grew = (what: string, from: number, to: number, slack: number) =>
    to > from + slack ? [`${from} ${what} became ${to}`] : []
  return [
    ...grew("MB resident", ...resident, residentSlack),
    ...grew("open files", ...files, filesSlack),
    ...(first === undefined || last === undefined ? [] : [
      ...grew("MB of heap", first.megabytes, last.megabytes, heapSlack),
      ...grew("fibers", first.fibers, last.fibers, fibersSlack)
    ])
  ]
}

interface Snapshot {
  readonly snapshot: { readonly meta: { readonly node_fields: ReadonlyArray<string> } }
  readonly nodes: ReadonlyArray<number>
  readonly strings: ReadonlyArray<string>
}

/** The program writes a snapshot of its heap, which stops it for some seconds. */
export const countHeap = (on: Arrangement): Effect.Effect<HeapCount> =>
  Effect.gen(function*() {
    yield* on.columba.snapshotHeap
    yield* until("the snapshot of the heap is there", Effect.sync(() => existsSync(on.heapFile)), "120 seconds")
    return yield* Effect.sync(() => {
      const counted = count(JSON.parse(readFileSync(on.heapFile, "utf8")) as Snapshot)
      rmSync(on.heapFile)
      return counted
    })
  })

const count = ({ nodes, snapshot, strings }: Snapshot): HeapCount => {
  const { node_fields } = snapshot.meta
  const [name, size] = [node_fields.indexOf("name"), node_fields.indexOf("self_size")]
  const fiber = strings.indexOf("FiberImpl")
  let [bytes, fibers] = [0, 0]
  for (let at = 0; at < nodes.length; at += node_fields.length) {
    bytes += nodes[at + size]!
    if (nodes[at + name] === fiber) fibers++
  }
  return { megabytes: Math.round(bytes / 1024 / 1024), fibers }
}
