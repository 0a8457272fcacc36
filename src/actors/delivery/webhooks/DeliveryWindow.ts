/**
 * The events of the log that are sent to an endpoint next: they enter in the order of the log and leave once they are
 * delivered, or once their device is held. When the first event leaves, the cursor moves.
 */
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId, EventId } from "../../../domain/Ids.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"

export interface Entry {
  readonly event: LoggedEvent
  state: "waiting" | "sent" | "done"
}

export class DeliveryWindow {
  /** The number up to which the log was read. */
  #through: number
  #throughId: EventId | null = null
  #entries: Array<Entry> = []
  #bytes = 0

  constructor(cursor: number) {
    this.#through = cursor
  }

  get through(): number {
    return this.#through
  }

  /** The event of that number, if it is known: another event there means another log. */
  get throughId(): EventId | null {
    return this.#throughId
  }

  /** Everything up to here is delivered or held. */
  get cursor(): number {
    return this.isEmpty ? this.#through : this.#entries[0]!.event.seq - 1
  }

  /** The event of that number, if it is known. */
  get cursorId(): EventId | null {
    return this.isEmpty ? this.#throughId : null
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** How many more events it accepts. */
  get room(): number {
    return this.#bytes >= bounds.windowBytesMax ? 0 : bounds.windowEventsMax - this.#entries.length
  }

  add(event: LoggedEvent): void {
    this.#entries.push({ event, state: "waiting" })
    this.#bytes += event.bytes
  }

  lookedThrough(seq: number, id: EventId | null): void {
    this.#through = seq
    this.#throughId = id
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
    if (kept === this.#entries.length) return
    this.#through = kept === 0 ? this.#entries[0]!.event.seq - 1 : this.#entries[kept - 1]!.event.seq
    this.#throughId = kept === 0 ? null : this.#entries[kept - 1]!.event.id
    this.#entries = this.#entries.slice(0, kept)
  }

  #trim(): void {
    let count = 0
    while (this.#entries[count]?.state === "done") this.#bytes -= this.#entries[count++]!.event.bytes
    if (count > 0) this.#entries = this.#entries.slice(count)
  }
}
