/**
 * Gives memory back to the machine once the process is quiet after a rush.
 *
 * A fleet that connects fills pages of the heap with garbage between objects that stay, and V8 keeps them: it collects the
 * old generation again once that has grown, which an idle fleet's does not, and its memory reducer waits for an allocation
 * rate that pings alone exceed. While V8's switch `optimize-for-size` is on, the reducer does not wait: it marks beside the
 * running program, compacts, shrinks the young generation, and returns the pages. So the switch is turned on for a moment
 * after a rush, and off again at once if work comes: left on, it would keep the heap tight at the cost of speed.
 *
 * V8 promises nothing about its switches. A V8 without this one ignores it, and memory stays as it was.
 */
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import { performance } from "node:perf_hooks"
import { getHeapStatistics, setFlagsFromString } from "node:v8"

/** How often it looks: two cheap calls. */
const interval = Duration.seconds(5)

/**
 * A loop that is busy for less than this share of the time is quiet. Ten thousand idle devices take some five percent. A
 * thousand events per second take some twenty, and must not count as quiet: under the switch one in a hundred of them waits
 * for 40 ms instead of 5, and each costs 1.7 times the CPU.
 */
const quietShare = 0.1

/** A rush has pauses of its own: the process must be quiet for so many looks in a row. */
const quietLooks = 3

/** The heap must have grown by so much: less is not worth collecting, which costs some hundred milliseconds of CPU. */
const growthMin = 32 * 1024 * 1024

/** So many looks long V8 is told that memory matters. Its reducer waits for eight seconds before each of its two rounds. */
const tightLooks = 6

/** Between the beginnings of two returns: a load that rises and falls must not be followed by a collection each time. */
const looksBetween = 60

/** What V8 moves together in one collection, in MiB: with its own 12 the program stands still for 50 to 70 ms. */
const movedMax = 3

/** What one look finds. */
export interface Look {
  /** Physical memory of the heap, in bytes. */
  readonly heap: number
  /** The share of the time since the last look in which the event loop was busy. */
  readonly busy: number
}

/** Decides when V8 is told that memory matters. Has no effects. */
export class HeapWatch {
  #heapBefore = Number.POSITIVE_INFINITY
  #quiet = 0
  /** Looks since the last return began. */
  #since = looksBetween
  #tight = false

  /** Whether memory matters from now on. */
  look({ busy, heap }: Look): boolean {
    this.#quiet = busy < quietShare ? this.#quiet + 1 : 0
    this.#since++
    this.#heapBefore = Math.min(this.#heapBefore, heap)
    if (this.#tight) {
      if (this.#quiet === 0 || this.#since >= tightLooks) {
        this.#tight = false
        this.#heapBefore = heap
      }
    } else if (this.#quiet >= quietLooks && this.#since >= looksBetween && heap - this.#heapBefore >= growthMin) {
      this.#tight = true
      this.#since = 0
    }
    return this.#tight
  }
}

/** Watches until the scope closes. */
export const make: Effect.Effect<void, never, Scope.Scope> = Effect.gen(function*() {
  const watch = new HeapWatch()
  setFlagsFromString(`--compaction-max-evacuated-bytes-mb-for-reduce-memory=${movedMax}`)
  let utilization = performance.eventLoopUtilization()
  let tight = false
  const set = (next: boolean): void => {
    if (next !== tight) setFlagsFromString(next ? "--optimize-for-size" : "--no-optimize-for-size")
    tight = next
  }
  const look = Effect.sync(() => {
    const since = performance.eventLoopUtilization(utilization)
    utilization = performance.eventLoopUtilization()
    set(watch.look({ heap: getHeapStatistics().total_physical_size, busy: since.utilization }))
  })
  yield* Effect.addFinalizer(() => Effect.sync(() => set(false)))
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(look, Effect.sleep(interval))))
})
