/**
 * Returns memory to the machine once the process is quiet after a rush.
 *
 * A fleet that connects fills pages of the heap with garbage between live objects, and V8 keeps the pages. It collects the
 * old generation again only when that has grown, which an idle fleet's does not, and its memory reducer waits for an allocation
 * rate below that of pings alone. While V8's switch `optimize-for-size` is on, the reducer does not wait: it marks
 * concurrently, compacts, shrinks the young generation, and returns the pages. So the switch is turned on for a moment
 * after a rush, and off at once when work arrives: if left on, it would keep the heap small at the cost of speed.
 *
 * V8 promises nothing about its switches. A V8 without this one ignores it, and memory stays as it was.
 */
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import { performance } from "node:perf_hooks"
import { getHeapStatistics, setFlagsFromString } from "node:v8"

/** The interval of the checks: each is two cheap calls. */
const interval = Duration.seconds(5)

/**
 * The process is quiet when its event loop is busy for less than this share of the time. Ten thousand idle devices take about
 * five percent. A thousand events per second take about twenty, and must not count as quiet: with the switch on, one in a
 * hundred of them waits for 40 ms instead of 5, and each costs 1.7 times the CPU.
 */
const quietShare = 0.1

/** Number of consecutive checks that must find the process quiet, because a rush has pauses. */
const quietLooks = 3

/** Minimum growth of the heap: less is not worth a collection, which costs some hundred milliseconds of CPU. */
const growthMin = 32 * 1024 * 1024

/** Number of checks for which the switch stays on. V8's reducer waits for eight seconds before each of its two rounds. */
const tightLooks = 6

/** Checks between the starts of two returns, so that a load that rises and falls does not cause a collection each time. */
const looksBetween = 60

/** How much V8 moves in one collection, in MiB: with its default of 12 the program is suspended for 50 to 70 ms. */
const movedMax = 3

/** The result of one check. */
export interface Look {
  /** Physical memory of the heap, in bytes. */
  readonly heap: number
  /** The share of the time since the last look in which the event loop was busy. */
  readonly busy: number
}

/** Decides when the switch is on. Has no effects. */
export class HeapWatch {
  #heapBefore = Number.POSITIVE_INFINITY
  #quiet = 0
  /** Checks since the last return began. */
  #since = looksBetween
  #tight = false

  /** Whether the switch is to be on from now. */
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
