/**
 * Starts the log's writes when they are due, one at a time. A batch may be of one event, so this is plain code: a
 * change costs a comparison, and a wait costs one timer instead of a race of fibers. `dueAt` decides when a batch is
 * due.
 */
import { Duration, Effect } from "effect"
import type { Clock, Fiber } from "effect"

export interface ScheduleInputs {
  /**
   * The time at which the next batch is due, on the monotonic clock: a past time means at once, null that there is
   * nothing to write.
   */
  readonly dueAt: (now: bigint) => bigint | null
  /** Whether a caller waits for room and no batch will release it. */
  readonly roomWanted: () => boolean
  readonly releaseRoom: () => void
  /** Writes the next batch. A call of `written` must follow, before or after it returns. */
  readonly write: () => void
}

const nanosInMilli = 1_000_000n

/** Pause between two releases of room when no write causes the next one. */
const roomPause = Duration.millis(1)

export class WriteSchedule {
  readonly #clock: Clock.Clock
  readonly #runFork: <A>(effect: Effect.Effect<A>) => Fiber.Fiber<A>
  readonly #inputs: ScheduleInputs
  #state: "stopped" | "waiting" | "writing" = "stopped"
  /** A write that ends before it has returned to the loop that started it is continued by that loop. */
  #looping = false
  /** The earliest time at which a timer fires; a timer that an earlier one has replaced changes nothing. */
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

  /** No further write starts; a write in progress continues. */
  stop(): void {
    this.#state = "stopped"
  }

  /** The inputs of `dueAt` have changed. */
  changed(): void {
    this.#look(0n)
  }

  /** The current write has ended. */
  written(): void {
    if (this.#state !== "writing") return
    this.#state = "waiting"
    if (!this.#looping) this.#look(0n)
  }

  /** `slack`: timers count whole milliseconds, so one may fire a part of a millisecond too early. */
  #look(slack: bigint): void {
    while (this.#state === "waiting") {
      if (this.#inputs.roomWanted()) this.#releaseRoomLater()
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

  #releaseRoomLater(): void {
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
