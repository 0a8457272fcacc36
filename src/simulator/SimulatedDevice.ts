/** One slot of the simulated gateway: its account, its sockets, its future events and its history. */
import type { WebSocket } from "ws"
import type { Payload, SocketHolder } from "./Dialect.ts"
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
  /** The current reactions, without ids of their own. */
  reactions?: ReadonlyArray<HistoryReaction>
  readonly call_metadata?: string
}

export interface HistoryReaction {
  readonly emoji: string
  readonly sender_jid: string
  readonly sender_display_name: string
  readonly is_from_me: boolean
  readonly timestamp: string
}

/** Covers every gap that a test opens. 10,000 devices with the usual few messages each stay below 100 MB. */
const historyMax = 1000

/** Enough to check the latest signals. */
const signalsMax = 100

const mediaTypes = ["image", "video", "video_note", "audio", "document", "sticker"]

export class SimulatedDevice implements SocketHolder {
  readonly id: string
  readonly name: string
  readonly createdAt: string
  /** The sockets of this device alone; a dialect may have others. */
  readonly sockets = new Set<WebSocket>()
  readonly frozen = new Set<WebSocket>()
  /** The credentials and names in the last upgrade. */
  handshake: { readonly header: string | null; readonly query: string | null; readonly user: string | null } | null =
    null
  /** The number of the last event. */
  seq = 0
  /** The last signals to chats that are not messages: `read 3EB0… in 628…`, `typing start in 628…`. */
  readonly signals: Array<string> = []
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

  /** Created at first use: most devices of a large idle fleet never emit anything. */
  get scenario(): Scenario {
    return this.#scenario ??= scenario(this.#seed, this.id, this.#conversation)
  }

  get history(): ReadonlyArray<HistoryRow> {
    return this.#history
  }

  signal(what: string): void {
    this.signals.push(what)
    if (this.signals.length > signalsMax) this.signals.shift()
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

  /**
   * Stores what a gateway stores: messages and calls. An edit changes the row, a reaction is a state of it, a revocation
   * removes it; acks are not stored.
   */
  remember(event: string, payload: Payload): void {
    if (event === "message" || event === "call.offer") {
      this.#history.push(event === "message" ? makeRow(payload) : makeCallRow(payload))
      if (this.#history.length > historyMax) this.#history.shift()
    } else if (event === "message.reaction") {
      const row = this.#history.find(({ id }) => id === payload.reacted_message_id)
      if (row !== undefined) row.reactions = react(row.reactions ?? [], payload)
    } else if (event === "message.edited") {
      const row = this.#history.find(({ id }) => id === payload.original_message_id)
      if (row !== undefined) {
        row.content = String(payload.body ?? row.content)
        row.updated_at = String(payload.timestamp)
      }
    } else if (event === "message.revoked") {
      this.#history = this.#history.filter(({ id }) => id !== payload.revoked_message_id)
    } else if (event === "message.deleted") {
      this.#history = this.#history.filter(({ id }) => id !== payload.deleted_message_id)
    }
  }
}

const makeRow = (payload: Payload): HistoryRow => {
  const timestamp = String(payload.timestamp)
  const media = findMedia(payload)
  return {
    id: String(payload.id),
    chat_jid: String(payload.chat_id),
    sender_jid: String(payload.from),
    sender_display_name: String(payload.sender_display_name ?? ""),
    content: readContent(payload),
    timestamp,
    is_from_me: payload.is_from_me === true,
    media_type: media,
    filename: media === "document" ? String(payload.filename ?? "price list.pdf") : "",
    url: media === "" ? "" : `https://mmg.whatsapp.net/${String(payload.id)}.enc`,
    file_length: media === "" ? 0 : 2048,
    created_at: timestamp,
    updated_at: timestamp
  }
}

const findMedia = (payload: Payload): string => mediaTypes.find((type) => type in payload) ?? ""

const readContent = (payload: Payload): string => String(payload.body ?? label(payload))

/** False for polls, for example. */
export const hasTextOrFile = (payload: Payload): boolean => readContent(payload) !== "" || findMedia(payload) !== ""

/** Contacts and locations are stored only as a line of text. */
const label = ({ contact, location }: Payload): string =>
  location === undefined && contact === undefined ? "" : contact === undefined ? "📍 location" : "👤 contact"

const makeCallRow = (payload: Payload): HistoryRow => {
  const timestamp = String(payload.timestamp)
  const from = String(payload.from)
  return {
    id: `call:${String(payload.call_id)}`,
    chat_jid: from,
    sender_jid: from,
    sender_display_name: String(payload.sender_display_name ?? ""),
    content: "",
    timestamp,
    is_from_me: false,
    media_type: "call",
    filename: "",
    url: "",
    file_length: 0,
    created_at: timestamp,
    updated_at: timestamp,
    call_metadata: JSON.stringify({ call_id: payload.call_id })
  }
}

/** One sender has one reaction; an empty one removes it. */
const react = (standing: ReadonlyArray<HistoryReaction>, payload: Payload): ReadonlyArray<HistoryReaction> => {
  const sender = String(payload.from)
  const others = standing.filter(({ sender_jid }) => sender_jid !== sender)
  return payload.reaction === "" ? others : [...others, {
    emoji: String(payload.reaction),
    sender_jid: sender,
    sender_display_name: String(payload.sender_display_name ?? ""),
    is_from_me: payload.is_from_me === true,
    timestamp: String(payload.timestamp)
  }]
}
