/**
 * What waits to be written: entries in arrival order, weighed in events and bytes, and who waits for room. No effects
 * and no clock of its own, so that a socket callback can use it and a test can read it.
 */
import type { Appended } from "../services/EventLog.ts"
import type { PreparedDraft } from "./LogStore.ts"

/** Two seconds of a saturated database. More waiting only delays what the sockets' own buffers would hold as well. */
export const queueEventsMax = 10_000

/** 32 MiB: what a process can spare while the database is away. What sockets had read already comes on top. */
export const queueBytesMax = 32 * 1024 * 1024

/** Reading goes on below half: enough to keep the writer busy, far enough from the bound not to flap. */
const roomShare = 0.5

/** Sockets let go at once. Each may bring 64 KiB of frames that it had buffered, so not all of a fleet together. */
const resumeAtOnce = 128

/** One `append` call: its drafts' results, and what to do when the last is there. */
export interface Waiter {
  remaining: number
  readonly results: Array<Appended>
  readonly done: () => void
}

/** A draft on its way, or (with `draft` null) a barrier that is done when all before it are. */
export interface Entry {
  draft: PreparedDraft | null
  readonly arrivedAt: bigint
  readonly waiter: Waiter | null
  readonly index: number
  /** Its waiter has its result, or it has none to tell. */
  answered: boolean
  /** Stood in for: what the store answered with a conflict or refused, so its replacement is tried next. */
  replaced: boolean
}

export class AppendQueue {
  #entries: Array<Entry> = []
  #start = 0
  #bytes = 0
  #inFlightEvents = 0
  #inFlightBytes = 0
  readonly #room = new Set<() => void>()

  /** Entries that no batch has taken. */
  get length(): number {
    return this.#entries.length - this.#start
  }

  /** Bytes that no batch has taken. */
  get waitingBytes(): number {
    return this.#bytes
  }

  /** Events waiting or being written. */
  get events(): number {
    return this.length + this.#inFlightEvents
  }

  get bytes(): number {
    return this.#bytes + this.#inFlightBytes
  }

  get oldest(): Entry | undefined {
    return this.#entries[this.#start]
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

  /** Takes what one transaction writes: at most so many events and bytes, at least one entry. */
  take(eventsMax: number, bytesMax: number): Array<Entry> {
    const batch: Array<Entry> = []
    let bytes = 0
    while (batch.length < eventsMax && this.#start < this.#entries.length) {
      const entry = this.#entries[this.#start]!
      const weight = entry.draft?.bytes ?? 0
      if (batch.length > 0 && bytes + weight > bytesMax) break
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
    return batch
  }

  /** The batch is written; what must be written once more goes before everything else. */
  settle(again: ReadonlyArray<Entry>): void {
    this.#inFlightEvents = 0
    this.#inFlightBytes = 0
    if (again.length === 0) return
    this.#entries = [...again, ...this.#entries.slice(this.#start)]
    this.#start = 0
    for (const entry of again) this.#bytes += entry.draft?.bytes ?? 0
  }

  /** Withdraws entries that no batch has taken. */
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

  /** Lets the longest waiting go on, a number at a time, while there is room. */
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

/** Answers one draft; the last answer of an `append` is the answer of the call. */
export const complete = (entry: Entry, appended: Appended): void => {
  if (entry.answered) return
  entry.answered = true
  const waiter = entry.waiter
  if (waiter === null) return
  waiter.results[entry.index] = appended
  waiter.remaining--
  if (waiter.remaining === 0) waiter.done()
}
