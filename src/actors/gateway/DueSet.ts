/**
 * What is due of many devices, under one timer: keys with the time at which each is due, by the monotonic clock. While
 * nothing is planned nothing runs, and there is one wake-up in a grain at most, for all that is due in it. The grains of
 * all sets of a process begin at the same moments.
 */
import { Clock, Duration, Effect, Latch } from "effect"
import type { Scope } from "effect"
import { monotonicMillis } from "../../services/monotonic.ts"
import { DueTimes } from "./DueTimes.ts"

export interface DueSet<K> {
  /** The key is due at this time of the monotonic clock, in milliseconds, and no more at the one that it had. */
  readonly planAt: (key: K, at: number) => void
  /** The same, so many milliseconds from now. */
  readonly planIn: (key: K, wait: number) => void
  readonly cancel: (key: K) => void
  readonly has: (key: K) => boolean
  /** When it is due; infinite where it is not planned. */
  readonly dueAt: (key: K) => number
}

export interface DueSetOptions<K> {
  /** Nothing is due sooner than it was planned, and later by at most so much. */
  readonly grain: Duration.Duration
  /** The key is due, and not planned any more. It may be planned again. */
  readonly onDue: (key: K) => void
  /** Runs after each wake-up. */
  readonly afterRound?: Effect.Effect<void>
}

export const make = Effect.fnUntraced(function*<K>(
  { afterRound = Effect.void, grain, onDue }: DueSetOptions<K>
): Effect.fn.Return<DueSet<K>, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const times = new DueTimes<K>()
  const grainMillis = Duration.toMillis(grain)
  const sooner = Latch.makeUnsafe()
  /** When the timer ends; infinite while there is none. */
  let wakeAt = Number.POSITIVE_INFINITY
  /** The end of the grain that the last round was in: the next round is not in it. */
  let earliest = Number.NEGATIVE_INFINITY

  const findWakeUp = (at: number): number => Math.max(earliest, Math.ceil(at / grainMillis) * grainMillis)

  const takeAll = (now: number): void => {
    // What is planned meanwhile waits for the next round, also if it is due at once.
    for (let left = times.size; left > 0; left--) {
      const key = times.takeDue(now)
      if (key === undefined) return
      onDue(key)
    }
  }

  const round = Effect.suspend(() => {
    const now = monotonicMillis(clock)
    if (now < wakeAt) return Effect.void
    earliest = (Math.floor(now / grainMillis) + 1) * grainMillis
    takeAll(now)
    return afterRound
  })

  const awaitNext = Effect.suspend(() => {
    sooner.closeUnsafe()
    wakeAt = findWakeUp(times.first)
    return wakeAt === Number.POSITIVE_INFINITY
      ? sooner.await
      : Effect.asVoid(Effect.timeoutOption(sooner.await, Math.max(0, wakeAt - monotonicMillis(clock))))
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(awaitNext, round)))

  const planAt = (key: K, at: number): void => {
    times.set(key, at)
    if (at !== Number.POSITIVE_INFINITY && findWakeUp(at) < wakeAt) sooner.openUnsafe()
  }

  return {
    planAt,
    planIn: (key, wait) => planAt(key, monotonicMillis(clock) + wait),
    cancel: (key) => void times.delete(key),
    has: (key) => times.has(key),
    dueAt: (key) => times.at(key)
  }
})
