/**
 * The events of the log that are sent to an endpoint next: they enter in the order of the log and leave once they are
 * delivered, or once their device is held. When the first event leaves, the cursor moves.
 */
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId, EventId } from "../../../domain/Ids.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"

/** A place in the log, with the event of that number if it is known: another event there means another log. */
export interface LogPlace {
  readonly seq: number
  readonly id: EventId | null
}

export interface Entry {
  readonly event: LoggedEvent
  /** Between this place and the event there is nothing else to send. */
  readonly before: LogPlace
  state: "waiting" | "sent" | "done"
}

export class DeliveryWindow {
  #through: LogPlace
  #entries: Array<Entry> = []
  #bytes = 0

  constructor(cursor: number) {
    this.#through = { seq: cursor, id: null }
  }

  /** Up to here the log was read. */
  get through(): LogPlace {
    return this.#through
  }

  /** Everything up to here is delivered or held. */
  get cursor(): LogPlace {
    return this.#entries[0]?.before ?? this.#through
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** How many more events it accepts. */
  get room(): number {
    return this.#bytes >= bounds.windowBytesMax ? 0 : bounds.windowEventsMax - this.#entries.length
  }

  add(event: LoggedEvent): void {
    this.#entries.push({ event, before: this.#through, state: "waiting" })
    this.lookedThrough(event.seq, event.id)
    this.#bytes += event.bytes
  }

  lookedThrough(seq: number, id: EventId | null): void {
    this.#through = { seq, id }
  }

  /** The first waiting event whose device is not in `busy`. */
  firstWaiting(busy: ReadonlySet<DeviceId>): Entry | undefined {
    return this.#entries.find(({ event, state }) => state === "waiting" && !busy.has(event.deviceId))
  }

  finish(event: LoggedEvent): void {
    for (const entry of this.#entries) if (entry.event.seq === event.seq) entry.state = "done"
    this.#trim()
  }

  /** The event was sent, and is to be sent again. */
  putBack(event: LoggedEvent): void {
    for (const entry of this.#entries) if (entry.event.seq === event.seq) entry.state = "waiting"
  }

  dropDevice(device: DeviceId): void {
    for (const entry of this.#entries) if (entry.event.deviceId === device) entry.state = "done"
    this.#trim()
  }

  /** Drops the waiting events at the end from memory. The window then ends before them, so that they are offered again. */
  forgetWaiting(): void {
    let kept = this.#entries.length
    while (kept > 0 && this.#entries[kept - 1]!.state === "waiting") this.#bytes -= this.#entries[--kept]!.event.bytes
    this.#through = this.#entries[kept]?.before ?? this.#through
    this.#entries = this.#entries.slice(0, kept)
  }

  #trim(): void {
    let count = 0
    while (this.#entries[count]?.state === "done") this.#bytes -= this.#entries[count++]!.event.bytes
    if (count > 0) this.#entries = this.#entries.slice(count)
  }
}
