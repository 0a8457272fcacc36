/**
 * The test clock with a wall clock that can be stepped apart from it, as an operator or NTP steps a machine's. Sleeps
 * and the monotonic clock continue unaffected.
 */
import { Clock, Effect } from "effect"
import { TestClock } from "effect/testing"

export interface SteppedClock {
  /** Moves the wall clock by this many milliseconds; negative is backward. */
  readonly stepWall: (millis: number) => void
}

/** Runs the test on such a clock. `TestClock.adjust` moves it. */
export const withSteppedClock = <A, E, R>(
  test: (clock: SteppedClock) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  TestClock.testClockWith((inner) => {
    let step = 0
    const wallMillis = () => inner.currentTimeMillisUnsafe() + step
    const wallNanos = () => inner.currentTimeNanosUnsafe() + BigInt(step) * 1_000_000n
    const clock = {
      ...inner,
      currentTimeMillisUnsafe: wallMillis,
      currentTimeMillis: Effect.sync(wallMillis),
      currentTimeNanosUnsafe: wallNanos,
      currentTimeNanos: Effect.sync(wallNanos)
    }
    const stepWall = (millis: number) => {
      step += millis
    }
    return Effect.provideService(test({ stepWall }), Clock.Clock, clock)
  })
