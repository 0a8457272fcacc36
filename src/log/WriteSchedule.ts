/**
 * Parks the log's writer until its next batch is due. A batch may be of one event, so this is plain code: a change costs
 * a comparison, and a wait costs one timer instead of a race of fibers. When a batch is due is decided by `dueAt`.
 */
import { Duration, Effect } from "effect"
import type { Clock, Fiber } from "effect"

export interface ScheduleInputs {
  /** When the next batch is due, on the monotonic clock: at once with a time that has passed, null with nothing to write. */
  readonly dueAt: (now: bigint) => bigint | null
  /** Whether a caller waits for room while no batch will give it out. */
  readonly roomWanted: () => boolean
  readonly releaseRoom: () => void
}

const nanosInMilli = 1_000_000n

/** Between two slices of room, when there is nothing to write that would give out the next one. */
const roomPause = Duration.millis(1)

export class WriteSchedule {
  readonly #clock: Clock.Clock
  readonly #runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly #inputs: ScheduleInputs
  #resume: (() => void) | null = null
  /** The earliest time at which a timer fires; a timer that is overtaken by an earlier one changes nothing. */
  #timerAt: bigint | null = null
  #roomTimer = false

  constructor(
    clock: Clock.Clock,
    runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>,
    inputs: ScheduleInputs
  ) {
    this.#clock = clock
    this.#runFork = runFork
    this.#inputs = inputs
  }

  /** Returns when a batch is due. For one fiber, the writer. */
  readonly untilDue: Effect.Effect<void> = Effect.callback((resume) => {
    this.#resume = () => resume(Effect.void)
    this.#look(0n)
    return Effect.sync(() => {
      this.#resume = null
    })
  })

  /** What `dueAt` depends on has changed. */
  changed(): void {
    if (this.#resume !== null) this.#look(0n)
  }

  /** `slack`: timers count whole milliseconds, so one may fire a part of a millisecond too early. */
  #look(slack: bigint): void {
    if (this.#resume === null) return
    if (this.#inputs.roomWanted()) this.#giveRoomLater()
    const now = this.#clock.monotonicTimeNanosUnsafe()
    const at = this.#inputs.dueAt(now)
    if (at === null) return
    if (at > now + slack) return this.#wakeAt(at, now)
    const resume = this.#resume
    this.#resume = null
    resume()
  }

  #wakeAt(at: bigint, now: bigint): void {
    if (this.#timerAt !== null && this.#timerAt <= at) return
    this.#timerAt = at
    // Rounded up: a timer for the rest of a millisecond would only be followed by another one.
    const wait = Duration.millis(Number((at - now + nanosInMilli - 1n) / nanosInMilli))
    this.#after(wait, () => {
      if (this.#timerAt === at) this.#timerAt = null
      this.#look(nanosInMilli)
    })
  }

  #giveRoomLater(): void {
    if (this.#roomTimer) return
    this.#roomTimer = true
    this.#after(roomPause, () => {
      this.#roomTimer = false
      if (this.#inputs.roomWanted()) this.#inputs.releaseRoom()
      this.#look(0n)
    })
  }

  #after(wait: Duration.Duration, action: () => void): void {
    this.#runFork(Effect.andThen(this.#clock.sleep(wait), Effect.sync(action)))
  }
}
