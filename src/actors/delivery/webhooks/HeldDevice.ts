/**
 * A device whose event the endpoint does not take: where it stands in the log, which of its events were read, and when it is
 * tried again. It has left the window, and goes on by itself until it has caught up.
 */
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId } from "../../../domain/Ids.ts"
import type { DeliveryOutcome } from "../../../domain/Subscription.ts"
import type { Reported } from "./deliverySteps.ts"

/** Storage was away while it was read. */
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
  /** The first number of the device that is not delivered. */
  seq: number
  failures = 0
  dueAt: number
  /** The wait before the next attempt is not one of the schedule (a new process tries soon), so it does not count. */
  free = false
  outcome: DeliveryOutcome = "failed"
  status: number | null = null
  /** No read before: storage was away. */
  readAt: number
  /** As far as its events were read, and those that were. */
  after: number
  loaded: ReadonlyArray<LoggedEvent> = []
  state: "waiting" | "reading" | "sending" = "waiting"
  since: string
  /** How many successes there had been when it failed first: without another one, the endpoint itself is down. */
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

  /** Whether it has events in memory, or is about to. */
  get isLoaded(): boolean {
    return this.state !== "waiting" || this.loaded.length > 0
  }

  /** An event that is in memory needs no read. */
  get readableAt(): number {
    return this.loaded.length > 0 ? 0 : this.readAt
  }

  hasCaughtUp(through: number): boolean {
    return this.loaded.length === 0 && this.after >= through
  }

  /** It was read from `after` on; null where the log could not be read. */
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
    // What is beyond the window comes by the window, once the device is released.
    this.loaded = page.events.filter(({ seq }) => seq <= through)
    this.after = Math.min(page.through, through)
    if (this.loaded[0] !== undefined && this.loaded[0].seq !== this.seq) {
      // Its event is gone: erased from the log by retention, or moved past.
      this.seq = this.loaded[0].seq
      this.failures = 0
    }
  }

  /** Retention has deleted what it waits for. */
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

  /** An event that is never taken is left out. */
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

  /** Counts a failure, and is due after the wait that belongs to so many. */
  countFailure(now: number, delayMillis: (failures: number) => number): void {
    if (!this.free) this.failures++
    this.free = false
    this.dueAt = now + delayMillis(Math.max(1, this.failures))
  }

  /** It is tried at `dueAt`, and that attempt does not count. */
  tryFreely(dueAt: number): void {
    this.dueAt = dueAt
    this.free = true
  }
}
