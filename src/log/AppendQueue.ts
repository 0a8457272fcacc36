/**
 * The queue of drafts to be written: entries in arrival order with their sizes in events and bytes, and the callers
 * that wait for room. It has no effects and no clock, so that a socket callback can use it and a test can inspect it.
 */
import type { Appended, Fence } from "../services/EventLog.ts"
import type { LogEffect } from "../services/LogEffect.ts"
import type { PreparedDraft, PreparedGroup } from "./LogStore.ts"

/** Two seconds of a saturated database. A longer queue only delays what the sockets' own buffers would hold as well. */
export const queueEventsMax = 10_000

/**
 * 32 MiB: the memory a process can spare during a database outage. Data that sockets have already read is not included.
 */
const queueBytesMax = 32 * 1024 * 1024

/** Sockets are read again below half: enough to keep the writer busy, and far enough from the bound not to flap. */
const roomShare = 0.5

/** Sockets resumed at once. Each may bring 64 KiB of frames that it had buffered, so a fleet is not resumed together. */
const resumeAtOnce = 128

/** One `append` call: the results of its drafts, and what to do when the last result is there. */
export interface Waiter {
  remaining: number
  readonly results: Array<Appended>
  readonly done: () => void
  /** The store refused a draft of the call because its fence is stale. */
  readonly fenced: (fence: Fence) => void
  /** The store will never take the call's effects. */
  readonly failed: (defect: unknown) => void
}

/**
 * Drafts and effects that are committed together or not at all. Its entries are adjacent in the queue and go into one
 * batch.
 */
export interface Group {
  readonly fence: Fence | null
  readonly effects: ReadonlyArray<LogEffect>
  readonly events: number
  readonly bytes: number
}

/**
 * A queued draft. With `draft` null, the entry is a group of effects alone or, without a group, a barrier, which
 * completes when all entries before it are written.
 */
export interface Entry {
  draft: PreparedDraft | null
  readonly arrivedAt: bigint
  readonly waiter: Waiter | null
  /** For a draft without a waiter: called once if its fence is stale. */
  readonly onFenced: (() => void) | null
  readonly index: number
  /** Null for a draft without a fence that forms a group by itself. */
  group: Group | null
  /** The known head when the entry was first sent to the store; null before. */
  floor: number | null
  /** Its waiter has its result, or it has no waiter and is done. */
  answered: boolean
  /** `draft` is a `frame.rejected` that replaces the original draft. It is never replaced again. */
  replaced: boolean
}

export class AppendQueue {
  #entries: Array<Entry> = []
  #start = 0
  #bytes = 0
  #inFlightEvents = 0
  #inFlightBytes = 0
  #inFlightSince: bigint | null = null
  readonly #room = new Set<() => void>()
  readonly #line = new Set<() => void>()

  /** Entries that are not in a batch yet. */
  get length(): number {
    return this.#entries.length - this.#start
  }

  /** Bytes that are not in a batch yet. */
  get waitingBytes(): number {
    return this.#bytes
  }

  /** Events that wait or are being written. */
  get events(): number {
    return this.length + this.#inFlightEvents
  }

  get bytes(): number {
    return this.#bytes + this.#inFlightBytes
  }

  get oldest(): Entry | undefined {
    return this.#entries[this.#start]
  }

  /** When the oldest unwritten entry was queued; null without any. */
  get oldestArrival(): bigint | null {
    return this.#inFlightSince ?? this.oldest?.arrivedAt ?? null
  }

  get overBound(): boolean {
    return this.events > queueEventsMax || this.bytes > queueBytesMax
  }

  get hasRoom(): boolean {
    return this.events <= queueEventsMax * roomShare && this.bytes <= queueBytesMax * roomShare
  }

  push(entry: Entry): void {
    this.#entries.push(entry)
    this.#bytes += entry.draft?.bytes ?? 0
  }

  /** Takes the entries that one transaction writes: whole groups, within the given maximums, but at least one entry. */
  take(eventsMax: number, bytesMax: number): Array<Entry> {
    const batch: Array<Entry> = []
    let bytes = 0
    while (batch.length < eventsMax && this.#start < this.#entries.length) {
      const entry = this.#entries[this.#start]!
      const weight = entry.draft?.bytes ?? 0
      // The remaining entries of a started group always fit.
      const ahead = entry.group ?? { events: 1, bytes: weight }
      const begins = entry.group === null || entry.group !== batch.at(-1)?.group
      if (batch.length > 0 && begins && (batch.length + ahead.events > eventsMax || bytes + ahead.bytes > bytesMax)) {
        break
      }
      bytes += weight
      batch.push(entry)
      this.#start++
    }
    if (this.#start * 2 > this.#entries.length) {
      this.#entries = this.#entries.slice(this.#start)
      this.#start = 0
    }
    this.#bytes -= bytes
    this.#inFlightEvents = batch.length
    this.#inFlightBytes = bytes
    this.#inFlightSince = batch[0]?.arrivedAt ?? null
    return batch
  }

  /** The batch is written. Entries that must be written again go to the front of the queue. */
  settle(again: ReadonlyArray<Entry>): void {
    this.#inFlightEvents = 0
    this.#inFlightBytes = 0
    this.#inFlightSince = null
    if (again.length === 0) return
    this.#entries = [...again, ...this.#entries.slice(this.#start)]
    this.#start = 0
    for (const entry of again) this.#bytes += entry.draft?.bytes ?? 0
  }

  /** Removes the entries of a caller that are not in a batch yet. */
  withdraw(waiter: Waiter): void {
    const kept: Array<Entry> = []
    for (let index = this.#start; index < this.#entries.length; index++) {
      const entry = this.#entries[index]!
      if (entry.waiter === waiter && !entry.replaced) this.#bytes -= entry.draft?.bytes ?? 0
      else kept.push(entry)
    }
    this.#entries = kept
    this.#start = 0
  }

  /** Whether `admit` would call back at once. */
  get admitsNow(): boolean {
    return this.#line.size === 0 && !this.overBound
  }

  /**
   * Calls `enter`, which queues a whole `append`, once the queue is within its bound: at once, or in turn after the
   * earlier appends. Returns a function that withdraws the call.
   */
  admit(enter: () => void): () => void {
    if (this.admitsNow) {
      enter()
      return () => {}
    }
    this.#line.add(enter)
    return () => {
      this.#line.delete(enter)
    }
  }

  /** Admits the appends that wait for room, one by one, for as long as there is room. */
  admitWaiting(): void {
    for (const enter of this.#line) {
      if (this.overBound) return
      this.#line.delete(enter)
      enter()
    }
  }

  get roomWanted(): boolean {
    return this.#room.size > 0
  }

  onRoom(resume: () => void): () => void {
    if (!this.overBound && this.#room.size === 0) {
      resume()
      return () => {}
    }
    this.#room.add(resume)
    return () => {
      this.#room.delete(resume)
    }
  }

  /** Calls back the longest-waiting callers while there is room, a bounded number at a time. */
  releaseRoom(): void {
    let released = 0
    for (const resume of this.#room) {
      if (released === resumeAtOnce || !this.hasRoom) return
      this.#room.delete(resume)
      released++
      resume()
    }
  }
}

export const isBarrier = (entry: Entry): boolean => entry.draft === null && entry.group === null

/** Sets the result of one draft, or null for an entry without a draft; the last result completes the `append` call. */
export const complete = (entry: Entry, appended: Appended | null): void => {
  if (entry.answered) return
  entry.answered = true
  const waiter = entry.waiter
  if (waiter === null) return
  if (appended !== null) waiter.results[entry.index] = appended
  waiter.remaining--
  if (waiter.remaining === 0) waiter.done()
}

/** The store refused the draft because its fence is stale. Nothing is written; the caller gets `Fenced`. */
export const refuse = (entry: Entry): void => {
  if (entry.answered) return
  entry.answered = true
  const fence = entry.group?.fence ?? null
  if (entry.waiter !== null && fence !== null) entry.waiter.fenced(fence)
  entry.onFenced?.()
}

/** The entries of a batch as the groups that a store commits. */
export const groupEntries = (entries: ReadonlyArray<Entry>): ReadonlyArray<PreparedGroup> => {
  const groups: Array<PreparedGroup & { readonly drafts: Array<PreparedDraft> }> = []
  let last: Group | null = null
  for (const { draft, group } of entries) {
    if (group === null || group !== last) {
      groups.push({ drafts: [], fence: group?.fence ?? null, effects: group?.effects ?? [] })
    }
    if (draft !== null) groups.at(-1)!.drafts.push(draft)
    last = group
  }
  return groups
}

/** Completes the groups without drafts. `refused` lists groups by their index in the result of `groupEntries`. */
export const settleEffects = (entries: ReadonlyArray<Entry>, refused: ReadonlyArray<number>): void => {
  let index = -1
  let last: Group | null = null
  for (const entry of entries) {
    if (entry.group === null || entry.group !== last) index++
    last = entry.group
    if (entry.draft !== null) continue
    if (refused.includes(index)) refuse(entry)
    else complete(entry, null)
  }
}

/** Where a batch is cut in two: between groups, near the middle; 0 for a batch of one group. */
export const findCut = (entries: ReadonlyArray<Entry>): number => {
  const middle = entries.length >> 1
  const cuts = (at: number) => at > 0 && (entries[at]!.group === null || entries[at]!.group !== entries[at - 1]!.group)
  for (let at = middle; at > 0; at--) if (cuts(at)) return at
  for (let at = middle + 1; at < entries.length; at++) if (cuts(at)) return at
  return 0
}
