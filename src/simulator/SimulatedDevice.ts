/** One slot of the simulated gateway: its account, its sockets, its coming events and its history. */
import type { WebSocket } from "ws"
import type { SocketHolder } from "./Dialect.ts"
import { makeAccount, type Scenario, scenario } from "./Scenario.ts"

/** A row of the history, in the form of the gateway's API. */
export interface HistoryRow {
  readonly id: string
  readonly chat_jid: string
  readonly sender_jid: string
  readonly sender_display_name: string
  content: string
  readonly timestamp: string
  readonly is_from_me: boolean
  readonly media_type: string
  readonly filename: string
  readonly url: string
  readonly file_length: number
  readonly created_at: string
  updated_at: string
}

/** Covers every gap that a test opens. 10,000 devices with the usual few messages each stay below 100 MB. */
const historyMax = 1000

const mediaTypes = ["image", "video", "video_note", "audio", "document", "sticker"]

export class SimulatedDevice implements SocketHolder {
  readonly id: string
  readonly name: string
  readonly createdAt: string
  /** Those for this device alone; a dialect may have others. */
  readonly sockets = new Set<WebSocket>()
  readonly frozen = new Set<WebSocket>()
  /** The credentials and names that the last upgrade carried. */
  handshake: { readonly header: string | null; readonly query: string | null; readonly user: string | null } | null =
    null
  /** The number of the last event. */
  seq = 0
  /** The account, once paired. */
  jid: string | null
  connected: boolean
  #seed: string
  #conversation: string
  #scenario: Scenario | undefined
  #history: Array<HistoryRow> = []

  constructor(seed: string, id: string, paired: boolean, now: number, conversation = seed) {
    this.#seed = seed
    this.#conversation = conversation
    this.id = id
    const account = makeAccount(seed, id)
    this.name = account.name
    this.jid = paired ? account.jid : null
    this.connected = paired
    this.createdAt = new Date(now).toISOString()
  }

  /** Made at first use: most devices of a large idle fleet never emit anything. */
  get scenario(): Scenario {
    return this.#scenario ??= scenario(this.#seed, this.id, this.#conversation)
  }

  get history(): ReadonlyArray<HistoryRow> {
    return this.#history
  }

  pair(): string {
    this.jid = makeAccount(this.#seed, this.id).jid
    this.connected = true
    return this.jid
  }

  logOut(): void {
    this.jid = null
    this.connected = false
  }

  /** Keeps what a gateway keeps: messages. An edit changes the row, a revocation removes it, acks are not kept. */
  remember(event: string, payload: Readonly<Record<string, unknown>>): void {
    if (event === "message") {
      this.#history.push(makeRow(payload))
      if (this.#history.length > historyMax) this.#history.shift()
    } else if (event === "message.edited") {
      const row = this.#history.find(({ id }) => id === payload.original_message_id)
      if (row !== undefined) {
        row.content = String(payload.body ?? row.content)
        row.updated_at = String(payload.timestamp)
      }
    } else if (event === "message.revoked") {
      this.#history = this.#history.filter(({ id }) => id !== payload.revoked_message_id)
    }
  }
}

const makeRow = (payload: Readonly<Record<string, unknown>>): HistoryRow => {
  const timestamp = String(payload.timestamp)
  return {
    id: String(payload.id),
    chat_jid: String(payload.chat_id),
    sender_jid: String(payload.from),
    sender_display_name: String(payload.sender_display_name ?? ""),
    content: String(payload.body ?? ""),
    timestamp,
    is_from_me: payload.is_from_me === true,
    media_type: mediaTypes.find((type) => type in payload) ?? "",
    filename: "",
    url: "",
    file_length: 0,
    created_at: timestamp,
    updated_at: timestamp
  }
}
