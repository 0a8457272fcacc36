/**
 * How long this process has really run. One that was paused, or got no processor, has looked at no connection meanwhile: what is
 * noticed within some time is noticed within so much time of running. Milliseconds of the monotonic clock.
 */
import { Clock, Effect } from "effect"
import type { Scope } from "effect"
import { monotonicMillis } from "../../services/monotonic.ts"

/** It looks at the clock this often; what is over that, by more than a busy moment, it stood still. */
const tickMillis = 1000
const lateMax = 1000

/** Intervals that are kept; beyond that the oldest two count as one, which only makes a gap begin earlier. */
const intervalsMax = 16

/** A moment in the past is asked for by at most so much running: older intervals are of no use. */
const keepMillis = 60 * 60_000

/** By the monotonic clock. */
export interface Interval {
  readonly from: number
  readonly to: number
}

export class RunningTime {
  #tickedAt: number
  #stoodStill: Array<Interval> = []

  constructor(now: number) {
    this.#tickedAt = now
  }

  /** It runs now. Answers with the time in which it stood still until then, if it did. */
  tick(now: number): Interval | null {
    const still = this.#since(now)
    this.#tickedAt = now
    if (still === null) return null
    const kept = [...this.#stoodStill.filter(({ to }) => to > now - keepMillis), still]
    const [first, second, ...rest] = kept
    this.#stoodStill = kept.length > intervalsMax ? [{ from: first!.from, to: second!.to }, ...rest] : kept
    return still
  }

  /** The moment since which it has run for so long, without the times in which it stood still. */
  before(now: number, millis: number): number {
    const still = this.#since(now)
    let [at, left] = [now, millis]
    for (const { from, to } of [...this.#stoodStill, ...(still === null ? [] : [still])].toReversed()) {
      if (at - to >= left) break
      left -= Math.max(0, at - to)
      at = from
    }
    return at - left
  }

  /**
   * Since when it may have waited to be read, what was read at `at`: all that comes while the process stands still is read once it
   * runs again. `drain`: by then it has read what waited.
   */
  waitedSince(at: number, now: number, drain: number): number {
    const still = this.#since(now)
    let since = at
    for (const { from, to } of [...this.#stoodStill, ...(still === null ? [] : [still])].toReversed()) {
      if (from < since && since < to + drain) since = from
    }
    return since
  }

  /** Standing still that no tick has seen yet, because what was due meanwhile runs in any order. */
  #since(now: number): Interval | null {
    return now - this.#tickedAt > tickMillis + lateMax ? { from: this.#tickedAt, to: now } : null
  }
}

/** Ticks until its scope closes. `onStoodStill` is told of each time in which it stood still, once it runs again. */
export const make = Effect.fnUntraced(function*(
  onStoodStill: (interval: Interval) => void = () => {}
): Effect.fn.Return<RunningTime, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const running = new RunningTime(monotonicMillis(clock))
  const tick = Effect.sync(() => {
    const still = running.tick(monotonicMillis(clock))
    if (still !== null) onStoodStill(still)
  })
  // Each round sleeps, which gives way to others.
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(tickMillis), tick), { disableYield: true }))
  return running
})
