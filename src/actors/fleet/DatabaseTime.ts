/**
 * The database's clock, derived from this process's monotonic clock: it is set by one reading a minute. Times that are
 * compared across processes and restarts (gaps, watermarks, signs of life) use it, so that a machine with a wrong or
 * stepped clock records no wrong interval.
 */
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { GapRepository } from "../../services/GapRepository.ts"
import { monotonicMillis } from "../../services/monotonic.ts"

/** Quartz drifts by a few milliseconds a minute. */
const readInterval = Duration.minutes(1)

/** While the database is unavailable, the last reading stays valid. */
const retryInterval = Duration.seconds(5)

export class DatabaseTime extends Context.Service<DatabaseTime, {
  /** Milliseconds since the epoch. */
  readonly now: () => number
  /** The database's time at this moment of the monotonic clock. */
  readonly at: (monotonic: number) => number
}>()("columba/actors/fleet/DatabaseTime") {
  static readonly layer = Layer.effect(
    DatabaseTime,
    Effect.gen(function*() {
      const gaps = yield* GapRepository
      const clock = yield* Clock.Clock
      let offset = clock.currentTimeMillisUnsafe() - monotonicMillis(clock)
      let isFirst = true
      const read = Effect.gen(function*() {
        const before = monotonicMillis(clock)
        const now = Date.parse(yield* gaps.now)
        // The clock was read at some moment in between. The current offset stays as far as the answer allows: one that took
        // seconds proves less.
        const [least, most] = [now - monotonicMillis(clock), now - before]
        offset = isFirst ? (least + most) / 2 : Math.min(most, Math.max(least, offset))
        isFirst = false
        return true
      }).pipe(Effect.orElseSucceed(() => false))
      let known = yield* read
      yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
        yield* Effect.sleep(known ? readInterval : retryInterval)
        known = yield* read
      })))
      const at = (monotonic: number): number => Math.round(monotonic + offset)
      return DatabaseTime.of({ at, now: () => at(monotonicMillis(clock)) })
    })
  )
}
