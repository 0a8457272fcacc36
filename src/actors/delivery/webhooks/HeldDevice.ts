/**
 * A device whose event the endpoint does not accept: its position in the log, the events that were read for it, and when it
 * is retried. It has left the window, and is delivered separately until it has caught up.
 */
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId } from "../../../domain/Ids.ts"
import type { DeliveryOutcome } from "../../../domain/Subscription.ts"
import type { Reported } from "./deliverySteps.ts"

/** The wait before the next read after one that brought nothing: storage was unavailable, or the log is too short. */
const readAgainAfterMillis = 1_000

interface HeldFrom {
  readonly device: DeviceId
  readonly seq: number
  readonly now: number
  readonly since: string
  readonly successes: number
}

export class HeldDevice {
  readonly device: DeviceId
  /** The number of the device's first undelivered event. */
  seq: number
  failures = 0
  dueAt: number
  /** The next attempt does not count: it does not follow the schedule (a new process retries soon). */
  free = false
  outcome: DeliveryOutcome = "failed"
  status: number | null = null
  /** The earliest time of the next read: the last one failed, or the log is too short. */
  readAt: number
  /** The number up to which its events were read, followed by those events. */
  after: number
  loaded: ReadonlyArray<LoggedEvent> = []
  state: "waiting" | "reading" | "sending" = "waiting"
  since: string
  /** The endpoint's successes when the device first failed: if there is no further one, the endpoint itself is down. */
  successes: number

  constructor({ device, now, seq, since, successes }: HeldFrom) {
    this.device = device
    this.seq = seq
    this.dueAt = now
    this.readAt = now
    this.after = seq - 1
    this.since = since
    this.successes = successes
  }

  /** Whether it has events in memory or is loading some. */
  get isLoaded(): boolean {
    return this.state !== "waiting" || this.loaded.length > 0
  }

  /** Zero if an event is in memory, which needs no read. */
  get readableAt(): number {
    return this.loaded.length > 0 ? 0 : this.readAt
  }

  hasCaughtUp(through: number): boolean {
    return this.loaded.length === 0 && this.after >= through
  }

  /** The result of reading its events after `after`; null if the log could not be read. */
  read(
    page: { readonly events: ReadonlyArray<LoggedEvent>; readonly through: number } | null,
    through: number,
    now: number
  ): void {
    this.state = "waiting"
    if (page === null) {
      this.readAt = now + readAgainAfterMillis
      return
    }
    // The log is shorter than the window believes: an older database has taken over, and it is not noticed yet.
    if (page.through <= this.after && page.through < through) this.readAt = now + readAgainAfterMillis
    // Events beyond the window are delivered through the window, once the device is released.
    this.loaded = page.events.filter(({ seq }) => seq <= through)
    this.after = Math.min(page.through, through)
    if (this.loaded[0] !== undefined && this.loaded[0].seq !== this.seq) {
      // Its event no longer exists: retention has deleted it, or it was skipped.
      this.seq = this.loaded[0].seq
      this.failures = 0
    }
  }

  /** Retention has deleted the event that it waits for. */
  expired(oldest: number): void {
    this.state = "waiting"
    this.after = Math.max(this.after, oldest - 1)
    this.seq = this.after + 1
    this.failures = 0
  }

  delivered(now: number, at: string, successes: number): void {
    const [delivered, ...rest] = this.loaded
    this.loaded = rest
    this.seq = rest[0]?.seq ?? Math.max(this.after, delivered?.seq ?? 0) + 1
    this.free = false
    this.state = "waiting"
    this.#beginNext(now, at, successes)
  }

  /** Skips an event that is never accepted. */
  abandon(now: number, at: string, successes: number): void {
    this.seq += 1
    this.after = this.seq - 1
    this.#beginNext(now, at, successes)
  }

  #beginNext(now: number, at: string, successes: number): void {
    this.failures = 0
    this.dueAt = now
    this.since = at
    this.successes = successes
  }

  failed({ outcome, status }: Reported): void {
    this.state = "waiting"
    this.forgetEvents()
    this.outcome = outcome
    this.status = status
  }

  /** Its events are read again when it is due, because they may be erased meanwhile. */
  forgetEvents(): void {
    this.loaded = []
    this.after = this.seq - 1
  }

  /** Counts a failure, and schedules the next attempt by the number of failures. */
  countFailure(now: number, delayMillis: (failures: number) => number): void {
    if (!this.free) this.failures++
    this.free = false
    this.dueAt = now + delayMillis(Math.max(1, this.failures))
  }

  /** The next attempt is at `dueAt` and does not count. */
  tryFreely(dueAt: number): void {
    this.dueAt = dueAt
    this.free = true
  }
}
