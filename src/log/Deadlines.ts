/**
 * Deadlines of many waiting readers with one timer. A reader that keeps up starts a new wait after each commit, and its
 * deadline rarely passes: one timer per wait would cost more than the wait itself.
 */
import { Duration, Effect } from "effect"
import type { Clock, Fiber } from "effect"

const nanosInMilli = 1_000_000n

/** Deadlines within this time share a moment, since every waiting reader is looked at for each. */
const grain = 500n * nanosInMilli

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

  /** Whether this time of the monotonic clock has passed. If not, `onTime` is called at most half a second after it has. */
  passed(deadline: bigint): boolean {
    const now = this.#clock.monotonicTimeNanosUnsafe()
    if (now >= deadline) return true
    const at = (deadline + grain - 1n) / grain * grain
    if (this.#timerAt === null || at < this.#timerAt) this.#wakeAt(at, now)
    return false
  }

  #wakeAt(at: bigint, now: bigint): void {
    this.#timerAt = at
    const wait = Duration.millis(Number((at - now + nanosInMilli - 1n) / nanosInMilli))
    this.#runFork(Effect.andThen(
      this.#clock.sleep(wait),
      Effect.sync(() => {
        // Replaced by an earlier timer, which also handles the remaining deadlines.
        if (this.#timerAt !== at) return
        this.#timerAt = null
        this.#onTime()
      })
    ))
  }
}
