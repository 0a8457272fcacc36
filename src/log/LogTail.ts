/**
 * The newest committed events in memory, the readers that wait for more, and what is known of the log itself. Readers
 * that keep up are served from here without a query; a reader that is behind, or asks past what other processes
 * committed, reads the store.
 *
 * A log can go back: a replica that had not received everything takes over, an older copy is restored, the database is
 * created anew. So each answer of the store is compared with what was known when it was asked (`now`, then `observe`):
 * another identity, a smaller head or another event under a known number means a reset. The events in memory are
 * dropped then, and a new generation begins; a reader that began in an older one ends with `LogReset`.
 */
import type { Effect } from "effect"
import { isVisible } from "../contracts/Authorization.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import { isMarked } from "../domain/Ids.ts"
import type { EventId } from "../domain/Ids.ts"
import { LogReset } from "../domain/MessageErrors.ts"
import { Condition } from "../services/Condition.ts"
import type { EventFilter, LogBounds, ReadFrom } from "../services/EventLog.ts"

/** What all readers that keep up may lag behind without a query: about a second at full speed. */
const tailEventsMax = 20_000

/** 16 MiB of event data: the bound that counts when events are large. */
const tailBytesMax = 16 * 1024 * 1024

/** What stays however old it is: a reader that comes back after a minute of some tens of events per second finds it all. */
export const tailKept = 2_000

/**
 * With so many followers, what other processes commit is read into memory once for all of them. Below, each reads what it
 * wants from the store, which is less where it wants few devices.
 */
export const fillFollowersMin = 4

/** What is farther behind than this is not brought into memory: followers that want it read it as any that is behind. */
const fillEventsMax = 1000

/** A slice of the tail: events that match, and the last number looked at. */
export interface TailPage {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
  readonly throughId: EventId
}

/** What is known of the log at one moment. */
export interface Knowledge {
  readonly generation: number
  readonly head: number
  /** The newest event that is known; number 0 before the first. */
  readonly anchor: { readonly seq: number; readonly id: EventId | null }
}

/** What an answer of the store says of the log. */
export interface Observation extends Omit<LogBounds, "headId"> {
  readonly headId?: EventId | null
  /** The event that has the anchor's number; null where the log has none, or keeps it no longer. */
  readonly anchorId?: EventId | null
}

/** How a log was found to have gone back: from which number to which, and whether it is another log. */
export interface ResetDetail {
  readonly from: number
  readonly to: number
  readonly another: boolean
}

export const matches = (filter: EventFilter, event: LoggedEvent): boolean =>
  (filter.device === undefined || filter.device === event.deviceId) &&
  isVisible(filter.visible, event.deviceId) &&
  (filter.kinds === undefined || filter.kinds.includes(event.kind)) &&
  filter.hidden?.includes(event.kind) !== true

export class LogTail {
  /** Contiguous numbers; `start` is where the live part begins, so that dropping from the front is cheap. */
  #events: Array<LoggedEvent> = []
  #start = 0
  #bytes = 0
  /** The newest number at the last look: what is older at the next one is dropped. */
  #agedThrough = 0
  /** The last number known to be committed, by this process or another. */
  #head = 0
  /** The number up to which readers have been woken. Behind the head only while the tail is being filled. */
  #shown = 0
  #followers = 0
  /** Asks for `filled`; null where there are no other processes. */
  #fill: (() => void) | null = null
  #writing = false
  #heard = 0
  #logId: string | null = null
  #anchor: Knowledge["anchor"] = { seq: 0, id: null }
  /**
   * False once an answer shows more events than were known, without the anchor's: the log may have gone back and grown
   * again. The anchor then stays until a read has compared it, because a newer one would prove nothing about the gap.
   */
  #proven = true
  #generation = 0
  #reset: LogReset | null = null
  readonly #changes = new Condition()
  readonly #grown = new Condition()
  readonly #onReset: (detail: ResetDetail) => void

  constructor(onReset: (detail: ResetDetail) => void) {
    this.#onReset = onReset
  }

  get head(): number {
    return this.#head
  }

  get waiting(): number {
    return this.#changes.waiting
  }

  /** Whether any answer of the store has been seen. */
  get known(): boolean {
    return this.#logId !== null
  }

  /** To be taken before the store is asked, and given to `observe` with its answer. */
  get now(): Knowledge {
    return { generation: this.#generation, head: this.#head, anchor: this.#anchor }
  }

  /** The error of readers that began in an older generation; null while `generation` is the newest. */
  findReset(generation: number): LogReset | null {
    return generation === this.#generation ? null : this.#reset
  }

  /**
   * Compares an answer with what was known when the store was asked. `lowest` is the least head that the answer can
   * prove: the observed one, or for a write the one before it. Numbers alone do not tell: another process may have given
   * those that an older log lacked to other events meanwhile. `stale`: another answer has led to a reset meanwhile,
   * so it is unknown of which log this one is.
   */
  observe(asked: Knowledge, seen: Observation, lowest = seen.head): "same" | "reset" | "stale" {
    if (asked.generation !== this.#generation) return "stale"
    const another = this.#logId !== null && seen.logId !== this.#logId
    this.#logId = seen.logId
    if (another) {
      this.#begin({ ...seen, head: seen.oldest - 1, headId: null }, { from: asked.head, to: lowest, another })
      return "reset"
    }
    const { anchor } = asked
    const anchorId = seen.anchorId !== undefined || seen.head !== anchor.seq ? seen.anchorId : seen.headId
    // An event that is not there any more was deleted for its age, or else the log ended before it for a moment.
    const kept = anchor.id !== null && anchor.seq >= seen.oldest
    const replaced = anchorId !== undefined && kept && anchorId !== anchor.id
    if (lowest >= asked.head && !replaced) {
      if (anchorId !== undefined) this.#proven = true
      // Without an anchor no answer can ever prove anything, and what is read first becomes one.
      else if (lowest > asked.head && anchor.seq > 0) this.#proven = false
      return "same"
    }
    this.#begin({ ...seen, head: lowest, headId: lowest === seen.head ? seen.headId ?? null : null }, {
      from: asked.head,
      to: lowest,
      another
    })
    return "reset"
  }

  /** A new generation, which knows nothing but that the log stands at `bounds.head`. */
  #begin(bounds: LogBounds, detail: ResetDetail): void {
    this.#clear()
    this.#head = bounds.head
    this.#shown = bounds.head
    this.#heard = 0
    this.#anchor = { seq: 0, id: null }
    this.#proven = true
    this.#generation++
    this.#reset = LogReset.of(bounds)
    this.#onReset(detail)
    this.#changes.changed()
  }

  /** The newest event that is known, whichever way it was read. */
  recall(event: { readonly seq: number; readonly id: EventId } | undefined): void {
    if (this.#proven && event !== undefined && event.seq > this.#anchor.seq) {
      this.#anchor = { seq: event.seq, id: event.id }
    }
  }

  /**
   * Events of one batch, in order. Where another process committed in between, they are left to `filled`, or without it empty
   * the tail first.
   */
  push(events: ReadonlyArray<LoggedEvent>): void {
    if (this.#filling && events[0] !== undefined && events[0].seq > this.#end + 1) return this.recall(events.at(-1))
    for (const event of events) {
      const last = this.#events.at(-1)
      if (last !== undefined && this.#events.length > this.#start && event.seq !== last.seq + 1) this.#clear()
      this.#events.push(event)
      this.#bytes += event.bytes
    }
    this.recall(events.at(-1))
    while (
      this.#events.length - this.#start > tailEventsMax ||
      (this.#bytes > tailBytesMax && this.#events.length - this.#start > 1)
    ) {
      this.#bytes -= this.#events[this.#start]!.bytes
      this.#start++
    }
    // Dropped entries are cut off once they are as many as the kept ones: amortised one move per event.
    if (this.#start > 1024 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start)
      this.#start = 0
    }
    this.#grown.changed()
  }

  /** Returns once more is in memory than stays there: then `age` is to be called. */
  get surplus(): Effect.Effect<void> {
    return this.#grown.waitUntil(() => this.#events.length - this.#start > tailKept)
  }

  /**
   * Drops what was in memory at the call before this one already. Readers that keep up are past it long since; a rush would
   * otherwise leave megabytes behind that nothing replaces for hours.
   */
  age(): void {
    const last = this.#events.at(-1)
    if (last === undefined) return
    const first = this.#events[this.#start]!.seq
    const through = Math.min(this.#agedThrough, last.seq - tailKept)
    this.#agedThrough = last.seq
    if (through < first) return
    const start = this.#start + through + 1 - first
    for (let index = this.#start; index < start; index++) this.#bytes -= this.#events[index]!.bytes
    this.#events = this.#events.slice(start)
    this.#start = 0
  }

  /** Commits up to here exist. Wakes the readers that wait for them, once they are in memory where that is to be filled. */
  advance(head: number): void {
    this.#head = Math.max(this.#head, head)
    if (head <= this.#shown) return
    if (this.#fill !== null && this.#filling && head > this.#end) this.#fill()
    else this.#show(head)
  }

  #show(head: number): void {
    if (head <= this.#shown) return
    this.#shown = head
    this.#changes.changed()
  }

  /** The number that the next event in memory follows. */
  get #end(): number {
    return this.#events.length > this.#start ? this.#events.at(-1)!.seq : this.#shown
  }

  get #filling(): boolean {
    return this.#fill !== null && this.#followers >= fillFollowersMin
  }

  /** `fill` is called when what other processes committed is wanted in memory: `filled` or `unfilled` follows. */
  fillBy(fill: () => void): void {
    this.#fill = fill
  }

  get followers(): number {
    return this.#followers
  }

  /** A reader that stays begins, or ends. */
  follows(change: 1 | -1): void {
    this.#followers += change
  }

  /** After which number the store is to be read; null where nothing is missing. What is too far behind is given up. */
  findMissing(): number | null {
    if (this.#head <= this.#shown) return null
    if (this.#head - this.#end > fillEventsMax) {
      this.#clear()
      this.#show(this.#head - fillEventsMax)
    }
    return this.#end
  }

  /** What the store has after the number that was missing, up to `through`. */
  filled(events: ReadonlyArray<LoggedEvent>, through: number): void {
    const end = this.#end
    // What this process has committed meanwhile is there already.
    const fresh = events.filter(({ seq }) => seq > end)
    if (through <= end || (fresh[0] !== undefined && fresh[0].seq !== end + 1)) return this.unfilled()
    this.push(fresh)
    this.#show(through)
  }

  /** The store could not be read: readers ask it, and learn why. */
  unfilled(): void {
    this.#show(this.#head)
  }

  /** A write of this process is under way. Returns what is known before it, for `observe`. */
  writeBegins(): Knowledge {
    this.#writing = true
    return this.now
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

  /**
   * Returns once the head has passed `after`, or `generation` is no longer the newest, or `overdue` says that it waited
   * long enough, which is asked at every change and every `look`.
   */
  awaitAfter(after: number, generation: number, overdue: () => boolean): Effect.Effect<void> {
    return this.#changes.waitUntil(() => this.#shown > after || this.#generation !== generation || overdue())
  }

  /** Waiting readers look again. */
  look(): void {
    this.#changes.changed()
  }

  /** Up to which number followers read; what is committed beyond is on its way into memory. */
  get shown(): number {
    return this.#shown
  }

  /** Whether what follows `after` is in memory, or nothing up to `head` follows it. */
  covers(after: number, head = this.#head): boolean {
    const count = this.#events.length - this.#start
    if (count === 0) return false
    const first = this.#events[this.#start]!.seq
    const last = first + count - 1
    return after >= first - 1 && after <= last && (after < last || head <= last)
  }

  /** Null where the tail does not cover what follows `after`, or does not know its event as the marked one. */
  read(filter: EventFilter & ReadFrom, limit: number, bytesMax: number, head = this.#head): TailPage | null {
    const { after, mark = null } = filter
    if (!this.covers(after, head)) return null
    const first = this.#events[this.#start]!.seq
    const last = this.#events.at(-1)!
    if (mark !== null && (after < first || !isMarked(this.#events[this.#start + after - first]!.id, mark))) return null
    const events: Array<LoggedEvent> = []
    let bytes = 0
    for (let index = this.#start + (after + 1 - first); index < this.#events.length; index++) {
      const event = this.#events[index]!
      if (!matches(filter, event)) continue
      events.push(event)
      bytes += event.bytes
      if (events.length === limit || bytes >= bytesMax) {
        return { events, through: event.seq, throughId: event.id }
      }
    }
    return { events, through: last.seq, throughId: last.id }
  }

  /** Drops the events in memory, because they have been changed in the store. Readers ask the store for them. */
  forget(): void {
    this.#clear()
  }

  #clear(): void {
    this.#agedThrough = 0
    this.#events = []
    this.#start = 0
    this.#bytes = 0
  }
}
