/**
 * The record of every event the simulator has let happen, in order, so that a checker can later say what was lost,
 * doubled or out of order. Lines are written (to memory, and to the file where one is given) before the frame is sent:
 * whatever a device can have seen is in the ledger, even if the simulator is killed.
 */
import { closeSync, openSync, writeSync } from "node:fs"

export interface LedgerEntry {
  /** 1, 2, 3 … over all devices. */
  readonly n: number
  readonly device: string
  /** 1, 2, 3 … within the device. */
  readonly seq: number
  /** The gateway's name of the event. */
  readonly event: string
  /** The WhatsApp id; for an ack the first of `ids`; empty where the event has none. */
  readonly id: string
  readonly ids?: ReadonlyArray<string>
  /** To how many sockets it was sent: 0 where nobody listened or a fault swallowed it. */
  readonly sockets: number
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Two million lines are some 400 MB at most; beyond, the oldest half is let go and counted. A file keeps them all. */
const linesMax = 2_000_000

export class Ledger {
  readonly #file: number | undefined
  #lines: Array<string> = []
  #unwritten = ""
  #first = 1
  #count = 0

  constructor(path?: string) {
    this.#file = path === undefined ? undefined : openSync(path, "a")
  }

  get count(): number {
    return this.#count
  }

  /** Adds an entry. `flush` must come before its frame goes out. */
  add(entry: Omit<LedgerEntry, "n">): void {
    const line = JSON.stringify({ n: ++this.#count, ...entry })
    this.#lines.push(line)
    if (this.#file !== undefined) this.#unwritten += `${line}\n`
    if (this.#lines.length > linesMax) {
      this.#first += linesMax / 2
      this.#lines = this.#lines.slice(linesMax / 2)
    }
  }

  flush(): void {
    if (this.#file === undefined || this.#unwritten === "") return
    writeSync(this.#file, this.#unwritten)
    this.#unwritten = ""
  }

  /** Lines after number `after`, at most `limit`, as NDJSON. */
  page(after: number, limit: number): string {
    const start = Math.max(0, after + 1 - this.#first)
    const lines = this.#lines.slice(start, start + limit)
    return lines.length === 0 ? "" : `${lines.join("\n")}\n`
  }

  entries(): ReadonlyArray<LedgerEntry> {
    return this.#lines.map((line) => JSON.parse(line) as LedgerEntry)
  }

  close(): void {
    if (this.#file === undefined) return
    this.flush()
    closeSync(this.#file)
  }
}
