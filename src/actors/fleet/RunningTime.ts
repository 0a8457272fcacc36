/**
 * How long this process has really run. While it was suspended, or got no processor, it checked no connection: a loss that
 * is noticed within some time is noticed within that much running time. Milliseconds of the monotonic clock.
 */
import { Clock, Effect } from "effect"
import type { Scope } from "effect"
import { monotonicMillis } from "../../services/monotonic.ts"

/** The interval of clock checks; if one comes later than this plus `lateMax`, the process was suspended. */
const tickMillis = 1000
const lateMax = 1000

/** Maximum number of intervals kept; beyond it, the oldest two are merged, which only makes a gap begin earlier. */
const intervalsMax = 16

/** Older intervals are not needed: no caller asks for more running time than this. */
const keepMillis = 60 * 60_000

/** By the monotonic clock. */
export interface Interval {
  readonly from: number
  readonly to: number
}

export class RunningTime {
  #tickedAt: number
  #suspended: Array<Interval> = []

  constructor(now: number) {
    this.#tickedAt = now
  }

  /** Records that the process runs now. Returns the time in which it was suspended until then, if any. */
  tick(now: number): Interval | null {
    const still = this.#since(now)
    this.#tickedAt = now
    if (still === null) return null
    const kept = [...this.#suspended.filter(({ to }) => to > now - keepMillis), still]
    const [first, second, ...rest] = kept
    this.#suspended = kept.length > intervalsMax ? [{ from: first!.from, to: second!.to }, ...rest] : kept
    return still
  }

  /** The moment since which the process has run for `millis`, not counting suspensions. */
  before(now: number, millis: number): number {
    const still = this.#since(now)
    let [at, left] = [now, millis]
    for (const { from, to } of [...this.#suspended, ...(still === null ? [] : [still])].toReversed()) {
      if (at - to >= left) break
      left -= Math.max(0, at - to)
      at = from
    }
    return at - left
  }

  /**
   * Since when the data that was read at `at` may have been waiting: data that comes during a suspension is read
   * afterwards. `drain`: the time needed to read the waiting data.
   */
  waitedSince(at: number, now: number, drain: number): number {
    const still = this.#since(now)
    let since = at
    for (const { from, to } of [...this.#suspended, ...(still === null ? [] : [still])].toReversed()) {
      if (from < since && since < to + drain) since = from
    }
    return since
  }

  /** A suspension that no tick has noticed yet, because timers that are due after it run in any order. */
  #since(now: number): Interval | null {
    return now - this.#tickedAt > tickMillis + lateMax ? { from: this.#tickedAt, to: now } : null
  }
}

/** Ticks until its scope closes. `onSuspended` is called with each suspension, once the process runs again. */
export const make = Effect.fnUntraced(function*(
  onSuspended: (interval: Interval) => void = () => {}
): Effect.fn.Return<RunningTime, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const running = new RunningTime(monotonicMillis(clock))
  const tick = Effect.sync(() => {
    const still = running.tick(monotonicMillis(clock))
    if (still !== null) onSuspended(still)
  })
  // Each round sleeps and thereby yields to other fibers.
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(tickMillis), tick), { disableYield: true }))
  return running
})
