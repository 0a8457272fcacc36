/**
 * The record of every socket that opened and closed, in order: which device was connected at which time, and to which local
 * address. Clients that each use their own address (127.0.0.1, 127.0.0.2 …) can be distinguished by it, so the record
 * shows independently which client held which device.
 */
import type { WebSocket } from "ws"

export interface SocketChange {
  /** 1, 2, 3 … over all devices. */
  readonly n: number
  /** Identifies the socket: the `n` of its opening. */
  readonly socket: number
  /** The slot; `*` for a socket that is for all of them. */
  readonly device: string
  /** The local address that the client had connected to. */
  readonly at: string
  readonly open: boolean
  /** Milliseconds since the epoch. */
  readonly time: number
}

/** Maximum number of changes, of some 100 bytes each. Beyond that the oldest half is dropped. */
const changesMax = 400_000

export class SocketRecord {
  readonly #now: () => number
  #lines: Array<string> = []
  #first = 1
  #count = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** Records a socket that has just opened, and later its end. */
  follow(device: string, at: string, socket: WebSocket): void {
    const number = this.#count + 1
    this.#add({ socket: number, device, at, open: true })
    socket.once("close", () => this.#add({ socket: number, device, at, open: false }))
  }

  /** Changes after number `after`, at most `limit`, as NDJSON. */
  page(after: number, limit: number): string {
    const start = Math.max(0, after + 1 - this.#first)
    const lines = this.#lines.slice(start, start + limit)
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`
  }

  #add(change: Omit<SocketChange, "n" | "time">): void {
    this.#lines.push(JSON.stringify({ n: ++this.#count, ...change, time: this.#now() }))
    if (this.#lines.length <= changesMax) return
    this.#first += changesMax / 2
    this.#lines = this.#lines.slice(changesMax / 2)
  }
}
