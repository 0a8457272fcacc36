/**
 * The newest committed events in memory, the readers that wait for more, and what is known about the log itself.
 * Readers that keep up are served from here without a query; a reader that lags, or that needs events of other
 * processes, reads the store.
 *
 * A log can go back: a replica that had not received everything takes over, an older copy is restored, or the database
 * is created again. So each answer of the store is compared with what was known when the request was sent (`now`, then
 * `observe`): another identity, a smaller head or another event under a known number means a reset. Then the events in
 * memory are dropped and a new generation begins; readers of an older generation end with `LogReset`.
 */
import { Effect } from "effect"
import { isVisible } from "../contracts/Authorization.ts"
import type { LoggedEvent } from "../domain/Event.ts"
import { isMarked } from "../domain/Ids.ts"
import type { DeviceId, EventId } from "../domain/Ids.ts"
import { LogReset } from "../domain/MessageErrors.ts"
import { Condition } from "../services/Condition.ts"
import type { EventFilter, LogBounds, ReadFrom } from "../services/EventLog.ts"
import { TailWaiters } from "./TailWaiters.ts"
import type { TailWaiter } from "./TailWaiters.ts"

/** How far readers may lag without a query: about a second at full speed. */
const tailEventsMax = 20_000

/** 16 MiB of event data: the effective bound when events are large. */
const tailBytesMax = 16 * 1024 * 1024

/**
 * The number of events that stay whatever their age: a reader that returns after a minute of some tens of events per
 * second finds all of them.
 */
export const tailKept = 2_000

/**
 * From this number of followers on, commits of other processes are read into memory once for all of them. With fewer,
 * each follower reads the store, which is less work if it wants few devices.
 */
export const fillFollowersMin = 4

/** Maximum number of missing events that are loaded into memory. Followers that need older ones read the store. */
const fillEventsMax = 1000

/** A slice of the tail: events that match, and the last number examined. */
export interface TailPage {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
  readonly throughId: EventId
}

/** What is known about the log at one moment. */
export interface Knowledge {
  readonly generation: number
  readonly head: number
  /** The newest event whose id is known; number 0 before the first. */
  readonly anchor: { readonly seq: number; readonly id: EventId | null }
}

/** The state of the log according to an answer of the store. */
export interface Observation extends Omit<LogBounds, "headId"> {
  readonly headId?: EventId | null
  /** The event that has the anchor's number; null if there is none or it has been deleted. */
  readonly anchorId?: EventId | null
}

/** Describes a reset: the head before and after, and whether it is another log. */
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
  /**
   * Contiguous numbers; `start` is the index of the first one that is kept, which makes dropping from the front cheap.
   */
  #events: Array<LoggedEvent> = []
  #start = 0
  #bytes = 0
  /** The newest number at the last call of `age`: the next call drops the events up to it. */
  #agedThrough = 0
  /** The last number known to be committed, by this process or another. */
  #head = 0
  /** The number up to which readers have been woken. Lower than the head only while the tail is being filled. */
  #shown = 0
  #followers = 0
  /** Followers that new events have woken since the last call of `takeWoken`. */
  #woken = 0
  /** Requests a call of `filled`; null where there are no other processes. */
  #fill: (() => void) | null = null
  #writing = false
  #signalled = 0
  #logId: string | null = null
  #anchor: Knowledge["anchor"] = { seq: 0, id: null }
  /**
   * False once an answer shows more events than were known but not the anchor's event: the log may have gone back and
   * grown again. The anchor then stays until a read has compared it, because a newer one would prove nothing about the
   * gap.
   */
  #proven = true
  #generation = 0
  #reset: LogReset | null = null
  readonly #waiters = new TailWaiters()
  readonly #grown = new Condition()
  readonly #onReset: (detail: ResetDetail) => void

  constructor(onReset: (detail: ResetDetail) => void) {
    this.#onReset = onReset
  }

  get head(): number {
    return this.#head
  }

  get waiting(): number {
    return this.#waiters.count
  }

  /** Whether the store has answered at least once. */
  get known(): boolean {
    return this.#logId !== null
  }

  /** Read before a request to the store, and passed to `observe` with its answer. */
  get now(): Knowledge {
    return { generation: this.#generation, head: this.#head, anchor: this.#anchor }
  }

  /** The error for readers of an older generation; null while `generation` is the newest. */
  findReset(generation: number): LogReset | null {
    return generation === this.#generation ? null : this.#reset
  }

  /**
   * Compares an answer with what was known when the store was asked. `lowest` is the smallest head that the answer can
   * prove: the observed one, or for a write the one before it. Numbers alone are not enough: another process may have
   * assigned the numbers that an older log lacked to other events. `stale`: another answer has caused a reset
   * meanwhile, so it is unknown which log this answer belongs to.
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
    // If the anchor's event is missing, it was deleted for its age, or the log was shorter for a moment.
    const kept = anchor.id !== null && anchor.seq >= seen.oldest
    const replaced = anchorId !== undefined && kept && anchorId !== anchor.id
    if (lowest >= asked.head && !replaced) {
      if (anchorId !== undefined) this.#proven = true
      // Without an anchor, no answer can prove anything; the first event that is read becomes the anchor.
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

  /** Begins a generation in which only the head, `bounds.head`, is known. */
  #begin(bounds: LogBounds, detail: ResetDetail): void {
    this.#clear()
    this.#head = bounds.head
    this.#shown = bounds.head
    this.#signalled = 0
    this.#anchor = { seq: 0, id: null }
    this.#proven = true
    this.#generation++
    this.#reset = LogReset.of(bounds)
    this.#onReset(detail)
    this.#waiters.all(0)
  }

  /** Records the newest known event, however it was read. */
  recall(event: { readonly seq: number; readonly id: EventId } | undefined): void {
    if (this.#proven && event !== undefined && event.seq > this.#anchor.seq) {
      this.#anchor = { seq: event.seq, id: event.id }
    }
  }

  /**
   * Adds the events of one batch, in order. If another process committed in between, the events are left to `filled`,
   * or, without filling, the tail is emptied first.
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
    // Dropped entries are cut off once they are as many as the kept ones: one move per event, amortised.
    if (this.#start > 1024 && this.#start * 2 > this.#events.length) {
      this.#events = this.#events.slice(this.#start)
      this.#start = 0
    }
    this.#grown.changed()
  }

  /** Completes once more than `tailKept` events are in memory: then `age` is to be called. */
  get surplus(): Effect.Effect<void> {
    return this.#grown.waitUntil(() => this.#events.length - this.#start > tailKept)
  }

  /**
   * Drops events that were already in memory at the previous call. Readers that keep up have passed them long ago.
   * Without this, a burst would leave megabytes in memory for hours.
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

  /**
   * Commits up to here exist. Wakes the readers that wait for them; while the tail is being filled, after the events
   * are in memory.
   */
  advance(head: number): void {
    this.#head = Math.max(this.#head, head)
    if (head <= this.#shown) return
    if (this.#fill !== null && this.#filling && head > this.#end) this.#fill()
    else this.#show(head)
  }

  #show(head: number): void {
    if (head <= this.#shown) return
    // What has come before was compared with all waiting readers, or is of none of their devices.
    const passed = this.#shown
    this.#shown = head
    const last = this.#events.at(-1)
    this.#woken += last !== undefined && last.seq >= head && this.covers(passed)
      ? this.#waiters.commit(passed, this.#devicesAfter(passed))
      : this.#waiters.all(passed)
  }

  #devicesAfter(seq: number): ReadonlySet<DeviceId> {
    const devices = new Set<DeviceId>()
    for (let index = this.#indexAfter(seq); index < this.#events.length; index++) {
      devices.add(this.#events[index]!.deviceId)
    }
    return devices
  }

  /** The number after which the next event in memory must follow. */
  get #end(): number {
    return this.#events.length > this.#start ? this.#events.at(-1)!.seq : this.#shown
  }

  get #filling(): boolean {
    return this.#fill !== null && this.#followers >= fillFollowersMin
  }

  /** `fill` is called when events of other processes are to be loaded; a call of `filled` or `unfilled` follows. */
  fillBy(fill: () => void): void {
    this.#fill = fill
  }

  /** The number of followers that new events have woken since the last call. */
  takeWoken(): number {
    const woken = this.#woken
    this.#woken = 0
    return woken
  }

  /** A follower starts or ends. */
  follows(change: 1 | -1): void {
    this.#followers += change
  }

  /**
   * The number after which the store must be read; null if nothing is missing. Events that are too far behind are
   * skipped.
   */
  findMissing(): number | null {
    if (this.#head <= this.#shown) return null
    if (this.#head - this.#end > fillEventsMax) {
      this.#clear()
      this.#show(this.#head - fillEventsMax)
    }
    return this.#end
  }

  /** The events of the store after the missing number, up to `through`. */
  filled(events: ReadonlyArray<LoggedEvent>, through: number): void {
    const end = this.#end
    // Events that this process has committed meanwhile are already in memory.
    const fresh = events.filter(({ seq }) => seq > end)
    if (through <= end || (fresh[0] !== undefined && fresh[0].seq !== end + 1)) return this.unfilled()
    this.push(fresh)
    this.#show(through)
  }

  /** The store could not be read: each reader reads it and gets the error. */
  unfilled(): void {
    this.#show(this.#head)
  }

  /** A write of this process is under way. Returns what is known before it, for `observe`. */
  writeBegins(): Knowledge {
    this.#writing = true
    return this.now
  }

  /** The write has been answered and its events are in the tail, or it failed. */
  writeEnds(): void {
    this.#writing = false
    this.advance(this.#signalled)
  }

  /**
   * The database signals commits up to here. The signal of our own commit often comes before its answer: a reader woken
   * by it would query the database for the events that the answer brings anyway, so the signal waits for the answer.
   */
  signal(head: number): void {
    if (this.#writing) this.#signalled = Math.max(this.#signalled, head)
    else this.advance(head)
  }

  /**
   * Returns once there is an event after `after` that matches, or that only the store has, or `generation` is no longer the
   * newest, or `overdue` returns true, which is evaluated at the beginning and at every `look`. The result is the number up to
   * which no event matches.
   */
  awaitMatch(
    filter: EventFilter,
    after: number,
    generation: number,
    overdue: () => boolean
  ): Effect.Effect<number> {
    return Effect.callback((resume) => {
      let known = after
      const isDue = (): boolean => {
        if (this.#generation !== generation) return true
        if (this.#shown <= known) return false
        if (!this.covers(known, this.#shown)) return true
        for (let index = this.#indexAfter(known); index < this.#events.length; index++) {
          const event = this.#events[index]!
          if (matches(filter, event)) return true
          known = event.seq
        }
        return known < this.#shown
      }
      const waiter: TailWaiter = {
        device: filter.device,
        look: (passed, inTime) => {
          if (passed > known) known = passed
          if (!isDue() && (inTime || !overdue())) return false
          this.#waiters.remove(waiter)
          resume(Effect.succeed(known))
          return true
        }
      }
      if (waiter.look(after, false)) return
      this.#waiters.add(waiter)
      return Effect.sync(() => this.#waiters.remove(waiter))
    })
  }

  /** The place of the first event after this covered number. */
  #indexAfter(seq: number): number {
    return this.#start + (seq + 1 - this.#events[this.#start]!.seq)
  }

  /** Waiting readers check their condition again. */
  look(): void {
    this.#waiters.all(this.#shown)
  }

  /** The number up to which followers read; later commits are being loaded into memory. */
  get shown(): number {
    return this.#shown
  }

  /** Whether the events after `after` are in memory, or no event up to `head` follows it. */
  covers(after: number, head = this.#head): boolean {
    const count = this.#events.length - this.#start
    if (count === 0) return false
    const first = this.#events[this.#start]!.seq
    const last = first + count - 1
    return after >= first - 1 && after <= last && (after < last || head <= last)
  }

  /** Null if the tail does not cover the events after `after`, or cannot confirm the mark of that event. */
  read(filter: EventFilter & ReadFrom, limit: number, bytesMax: number, head = this.#head): TailPage | null {
    const { after, mark = null } = filter
    if (!this.covers(after, head)) return null
    const first = this.#events[this.#start]!.seq
    const last = this.#events.at(-1)!
    if (mark !== null && (after < first || !isMarked(this.#events[this.#start + after - first]!.id, mark))) return null
    const events: Array<LoggedEvent> = []
    let bytes = 0
    for (let index = this.#indexAfter(after); index < this.#events.length; index++) {
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

  /** Drops the events in memory, because they have been changed in the store. Readers read them from the store. */
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
