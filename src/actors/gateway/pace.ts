/**
 * Turns at a limited rate, first come, first served. A turn is a time on the monotonic clock: no timer runs while nothing
 * waits, and no permit is lost when a waiting fiber is stopped.
 */
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../../services/monotonic.ts"

/**
 * Turns with a wait are grouped at multiples of this time: fibers that run in one turn of the event loop share their
 * writes, batches and wake-ups. Connecting a fleet at 500 per second took 912 µs of CPU per device one by one, and 490 to
 * 546 µs in groups of 50 (`bench/coldStart.ts`, on a machine with other work).
 */
const groupMillis = 100

/**
 * Waits for the next turn. The first one is immediate. Within any second there are at most `perSecond` turns plus those of
 * one group (a tenth of it).
 */
export const makePace = (perSecond: number): Effect.Effect<void> => {
  const spacing = 1000 / perSecond
  let nextTurn = Number.NEGATIVE_INFINITY
  return Clock.clockWith((clock) => {
    const now = monotonicMillis(clock)
    const mine = Math.max(now, nextTurn)
    nextTurn = mine + spacing
    return mine - now < 1 ? Effect.void : Effect.sleep(Math.ceil(mine / groupMillis) * groupMillis - now)
  })
}
