/**
 * The events of the log that an endpoint is sent next: they enter in the order of the log and leave it once they are
 * delivered, or once their device is held. What leaves at the front moves the cursor.
 */
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId, EventId } from "../../../domain/Ids.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"

export interface Entry {
  readonly event: LoggedEvent
  state: "waiting" | "sent" | "done"
}

export class DeliveryWindow {
  /** As far as the log was looked at. */
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

  /** The event of that number, where it is known: a log that has another one there is another log. */
  get throughId(): EventId | null {
    return this.#throughId
  }

  /** Everything up to here is delivered or held. */
  get cursor(): number {
    return this.isEmpty ? this.#through : this.#entries[0]!.event.seq - 1
  }

  /** The event of that number, where it is known. */
  get cursorId(): EventId | null {
    return this.isEmpty ? this.#throughId : null
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0
  }

  /** How many more events it takes. */
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

  /** The first that waits and is of no device of these. */
  firstWaiting(busy: ReadonlySet<DeviceId>): Entry | undefined {
    return this.#entries.find(({ event, state }) => state === "waiting" && !busy.has(event.deviceId))
  }

  finish(event: LoggedEvent): void {
    for (const entry of this.#entries) if (entry.event.seq === event.seq) entry.state = "done"
    this.#trim()
  }

  /** It was sent, and is to be sent again. */
  putBack(event: LoggedEvent): void {
    for (const entry of this.#entries) if (entry.event.seq === event.seq) entry.state = "waiting"
  }

  dropDevice(device: DeviceId): void {
    for (const entry of this.#entries) if (entry.event.deviceId === device) entry.state = "done"
    this.#trim()
  }

  /** What waits at its end leaves the memory. The window then ends before it, so that it comes again. */
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
