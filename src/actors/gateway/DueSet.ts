/**
 * Due times of many keys, under one timer, by the monotonic clock. Without planned keys nothing runs, and there is at most
 * one wake-up per grain for all keys due in it. The grains of all sets of a process start at the same moments.
 */
import { Clock, Duration, Effect, Latch } from "effect"
import type { Scope } from "effect"
import { monotonicMillis } from "../../services/monotonic.ts"
import { DueTimes } from "./DueTimes.ts"

export interface DueSet<K> {
  /** The key is due at this time of the monotonic clock, in milliseconds, which replaces its previous time. */
  readonly planAt: (key: K, at: number) => void
  /** As `planAt`, this many milliseconds from now. */
  readonly planIn: (key: K, wait: number) => void
  readonly cancel: (key: K) => void
  readonly has: (key: K) => boolean
  /** When the key is due; infinite if it is not planned. */
  readonly dueAt: (key: K) => number
}

export interface DueSetOptions<K> {
  /** A key never becomes due before its planned time, and at most this much later. */
  readonly grain: Duration.Duration
  /** The key is due, and no longer planned. It may be planned again. */
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
  /** The end of the grain that the last round was in: the next round must not be in it. */
  let earliest = Number.NEGATIVE_INFINITY

  const findWakeUp = (at: number): number => Math.max(earliest, Math.ceil(at / grainMillis) * grainMillis)

  const takeAll = (now: number): void => {
    // Keys planned meanwhile wait for the next round, even if they are due at once.
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
