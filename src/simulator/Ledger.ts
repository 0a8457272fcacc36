/**
 * The record of every event that the simulator has emitted, in order, so that a checker can find lost,
 * duplicated or reordered events. A line is written (to memory, and to the file if there is one) before its frame is sent:
 * every event that a device can have received is in the ledger, even if the simulator is killed.
 */
import { closeSync, openSync, writeSync } from "node:fs"

/** A message that was sent over the API, as the gateway received it. */
export interface SentEntry {
  readonly chat: string
  readonly text: string
  readonly file?: SentFile
}

export interface SentFile {
  readonly kind: string
  readonly name: string
  readonly type: string
  readonly size: number
  /** SHA-256 in hex. */
  readonly hash: string
}

export interface LedgerEntry {
  /** 1, 2, 3 … over all devices. */
  readonly n: number
  readonly device: string
  /** 1, 2, 3 … within the device. */
  readonly seq: number
  /** The gateway's name of the event. */
  readonly event: string
  /** The WhatsApp id; for an ack the first of `ids`; empty if the event has none. */
  readonly id: string
  readonly ids?: ReadonlyArray<string>
  /** For a reaction, an edit, a revocation or a deletion: the WhatsApp id of its message. */
  readonly target?: string
  /** For an ack: the status of its messages. */
  readonly status?: string
  /** Acks that a reader may derive from this event: some gateways include a message's status in it. */
  readonly implied?: ReadonlyArray<string>
  /** For a message that the gateway's history will not have. */
  readonly kept?: false
  /** For an event without an id: a reader takes it for a repeat, because an earlier one had the same text. */
  readonly alike?: true
  /** For a message or an edit: its text. */
  readonly text?: string
  /** For a message that was sent over the API. */
  readonly sent?: SentEntry
  /** The number of sockets to which it was sent: 0 if no socket was open or a fault dropped it. */
  readonly sockets: number
  /** Milliseconds since the epoch. */
  readonly at: number
}

/** Maximum number of lines in memory, at most some 400 MB. Beyond that the oldest half is dropped; a file keeps all. */
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
