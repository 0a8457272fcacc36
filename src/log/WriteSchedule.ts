/**
 * Starts the log's writes when they are due, one at a time. A batch may be of one event, so this is plain code: a change
 * costs a comparison, and a wait costs one timer instead of a race of fibers. When a batch is due is decided by `dueAt`.
 */
import { Duration, Effect } from "effect"
import type { Clock, Fiber } from "effect"

export interface ScheduleInputs {
  /** When the next batch is due, on the monotonic clock: at once with a time that has passed, null with nothing to write. */
  readonly dueAt: (now: bigint) => bigint | null
  /** Whether a caller waits for room while no batch will give it out. */
  readonly roomWanted: () => boolean
  readonly releaseRoom: () => void
  /** Writes the next batch. To be followed by `written`, before or after it returns. */
  readonly write: () => void
}

const nanosInMilli = 1_000_000n

/** Between two slices of room, when there is nothing to write that would give out the next one. */
const roomPause = Duration.millis(1)

export class WriteSchedule {
  readonly #clock: Clock.Clock
  readonly #runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly #inputs: ScheduleInputs
  #state: "stopped" | "waiting" | "writing" = "stopped"
  /** A write that ends before it has returned to the loop that started it is followed up by that loop. */
  #looping = false
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

  start(): void {
    this.#state = "waiting"
    this.#look(0n)
  }

  /** No write starts any more; one that is under way goes on. */
  stop(): void {
    this.#state = "stopped"
  }

  /** What `dueAt` depends on has changed. */
  changed(): void {
    this.#look(0n)
  }

  /** The write that was started last is over. */
  written(): void {
    if (this.#state !== "writing") return
    this.#state = "waiting"
    if (!this.#looping) this.#look(0n)
  }

  /** `slack`: timers count whole milliseconds, so one may fire a part of a millisecond too early. */
  #look(slack: bigint): void {
    while (this.#state === "waiting") {
      if (this.#inputs.roomWanted()) this.#giveRoomLater()
      const now = this.#clock.monotonicTimeNanosUnsafe()
      const at = this.#inputs.dueAt(now)
      if (at === null) return
      if (at > now + slack) return this.#wakeAt(at, now)
      this.#state = "writing"
      this.#looping = true
      this.#inputs.write()
      this.#looping = false
    }
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
