/**
 * The newest committed events in memory, and the readers that wait for more. Readers that keep up are served from here
 * without a query; a reader that is behind, or asks past what other processes committed, reads the store.
 */
import type { Effect } from "effect"
import { isVisible } from "../contracts/Authorization.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import type { EventFilter } from "../services/EventLog.ts"
import { Condition } from "../services/Condition.ts"
import { pageBytesMax } from "./LogStore.ts"

/** What all readers that keep up may lag behind without a query: about a second at full speed. */
export const tailEventsMax = 20_000

/** 16 MiB of event data: the bound that counts when events are large. */
export const tailBytesMax = 16 * 1024 * 1024

/** A slice of the tail: events that match, and the last number looked at. */
export interface TailPage {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
}

export const matches = (filter: EventFilter, event: LoggedEvent): boolean =>
  (filter.device === undefined || filter.device === event.deviceId) &&
  isVisible(filter.visible, event.deviceId) &&
  (filter.kinds === undefined || filter.kinds.includes(event.kind))

export class LogTail {
  /** Contiguous numbers; `start` is where the live part begins, so that dropping from the front is cheap. */
  #events: Array<LoggedEvent> = []
  #start = 0
  #bytes = 0
  /** The last number known to be committed, by this process or another. */
  #head = 0
  #writing = false
  #heard = 0
  readonly #commits = new Condition()

  get head(): number {
    return this.#head
  }

  get waiting(): number {
    return this.#commits.waiting
  }

  /** Events of one batch, in order. A gap before them (another process committed in between) empties the tail first. */
  push(events: ReadonlyArray<LoggedEvent>): void {
    for (const event of events) {
      const last = this.#events.at(-1)
      if (last !== undefined && this.#events.length > this.#start && event.seq !== last.seq + 1) this.#clear()
      this.#events.push(event)
      this.#bytes += event.bytes
    }
    while (
      this.#events.length - this.#start > tailEventsMax ||
      (this.#bytes > tailBytesMax && this.#events.length - this.#start > 1)
    ) {
      this.#bytes -= this.#events[this.#start]!.bytes
      this.#start++
    }
    // Dropped entries are cut off once they are as many as the kept ones: amortised one move an event.
    if (this.#start > 1024 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start)
      this.#start = 0
    }
  }

  /** Commits up to here exist. Wakes the readers that wait for them. */
  advance(head: number): void {
    if (head <= this.#head) return
    this.#head = head
    this.#commits.changed()
  }

  /** A write of this process is under way. */
  writeBegins(): void {
    this.#writing = true
  }

  /** It has been answered, and what it committed is in the tail; or it failed. */
  writeEnds(): void {
    this.#writing = false
    this.advance(this.#heard)
  }

  /**
   * The database signals commits up to here. The signal of our own commit often comes before its answer: a reader that
   * it woke would ask the database for what the answer brings anyway, so the signal waits for the answer.
   */
  hear(head: number): void {
    if (this.#writing) this.#heard = Math.max(this.#heard, head)
    else this.advance(head)
  }

  /** Returns once the head has passed `after`. */
  awaitAfter(after: number): Effect.Effect<void> {
    return this.#commits.waitUntil(() => this.#head > after)
  }

  /** Null where the tail does not cover what follows `after`. */
  read(filter: EventFilter, after: number, limit: number): TailPage | null {
    const count = this.#events.length - this.#start
    if (count === 0) return null
    const first = this.#events[this.#start]!.seq
    const last = first + count - 1
    if (after < first - 1 || after > last || (after === last && this.#head > last)) return null
    const events: Array<LoggedEvent> = []
    let bytes = 0
    for (let index = this.#start + (after + 1 - first); index < this.#events.length; index++) {
      const event = this.#events[index]!
      if (!matches(filter, event)) continue
      events.push(event)
      bytes += event.bytes
      if (events.length === limit || bytes >= pageBytesMax) return { events, through: event.seq }
    }
    return { events, through: last }
  }

  #clear(): void {
    this.#events = []
    this.#start = 0
    this.#bytes = 0
  }
}
