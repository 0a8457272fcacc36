/**
 * Deadlines of many waiting readers with one timer. A reader that keeps up starts a new wait after each commit, and its
 * deadline rarely passes: one timer per wait would cost more than the wait itself.
 */
import { Duration, Effect } from "effect"
import type { Clock, Fiber } from "effect"

const nanosInMilli = 1_000_000n

export class Deadlines {
  readonly #clock: Clock.Clock
  readonly #runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly #onTime: () => void
  #timerAt: bigint | null = null

  /** `onTime` is called when a deadline may have passed: it must call `passed` again for every waiting reader. */
  constructor(
    clock: Clock.Clock,
    runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>,
    onTime: () => void
  ) {
    this.#clock = clock
    this.#runFork = runFork
    this.#onTime = onTime
  }

  /** Whether this time of the monotonic clock has passed. If not, `onTime` is called when it does. */
  passed(deadline: bigint): boolean {
    const now = this.#clock.monotonicTimeNanosUnsafe()
    if (now >= deadline) return true
    if (this.#timerAt === null || deadline < this.#timerAt) this.#wakeAt(deadline, now)
    return false
  }

  #wakeAt(deadline: bigint, now: bigint): void {
    this.#timerAt = deadline
    const wait = Duration.millis(Number((deadline - now + nanosInMilli - 1n) / nanosInMilli))
    this.#runFork(Effect.andThen(
      this.#clock.sleep(wait),
      Effect.sync(() => {
        // Replaced by an earlier timer, which also handles the remaining deadlines.
        if (this.#timerAt !== deadline) return
        this.#timerAt = null
        this.#onTime()
      })
    ))
  }
}
