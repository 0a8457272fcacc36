/**
 * Turns at a steady rate, first come, first served. A turn is a time on the monotonic clock: no timer runs while nothing
 * waits, and no permit is lost when one that waits is stopped.
 */
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../../services/monotonic.ts"

/** Waits for the next turn. The first one is at once. */
export const makePace = (perSecond: number): Effect.Effect<void> => {
  const spacing = 1000 / perSecond
  let nextTurn = Number.NEGATIVE_INFINITY
  return Clock.clockWith((clock) => {
    const now = monotonicMillis(clock)
    const mine = Math.max(now, nextTurn)
    nextTurn = mine + spacing
    return mine - now < 1 ? Effect.void : Effect.sleep(mine - now)
  })
}
