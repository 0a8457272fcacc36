/** One session of the simulated WAHA server: its status, its settings, its history and its files. */
import type { Payload } from "../Dialect.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import { ackNumbers, vary } from "./events.ts"

/** Statuses that do not follow from the account. */
export const forcedStatuses = ["STOPPED", "FAILED", "PASSKEY_REQUIRED", "PASSKEY_CONFIRMATION_REQUIRED"] as const
export type ForcedStatus = (typeof forcedStatuses)[number]

export type WahaStatus = ForcedStatus | "STARTING" | "SCAN_QR_CODE" | "WORKING"

/** A webhook in the session's settings. */
export interface WebhookConfig {
  readonly url: string
  readonly events: ReadonlyArray<string>
  readonly hmac?: { readonly key?: string | null } | null
  readonly retries?: { readonly policy?: string; readonly delaySeconds?: number; readonly attempts?: number } | null
}

/** A message in the history. */
export interface HistoryMessage {
  payload: Payload
  ack: number
  /** Deleted for everyone: it takes a place in the pages and is not shown. */
  revoked: boolean
  /** Seconds since the epoch. */
  readonly at: number
}

/** The same limit as the core's. */
const historyMax = 1000
const recentStatuses = 3

export class WahaSession {
  readonly device: SimulatedDevice
  config: Payload = {}
  #forced: ForcedStatus | null = null
  readonly #history: Array<HistoryMessage> = []
  /** Hidden ids that messages have revealed. */
  readonly lids = new Map<string, string>()
  /** Existing files by name, with the time of their end. */
  readonly files = new Map<string, { readonly mimetype: string; readonly until: number }>()
  statuses: Array<{ readonly status: WahaStatus; readonly timestamp: number }> = []

  constructor(device: SimulatedDevice) {
    this.device = device
  }

  get status(): WahaStatus {
    if (this.#forced !== null) return this.#forced
    if (this.device.jid === null) return "SCAN_QR_CODE"
    return this.device.connected ? "WORKING" : "STARTING"
  }

  get isStopped(): boolean {
    return this.#forced === "STOPPED" || this.#forced === "FAILED"
  }

  /** Null: the status of the account. */
  force(status: ForcedStatus | null): void {
    this.#forced = status
  }

  /** The status in the form of an event, with earlier ones. */
  noteStatus(now: number): Payload {
    this.statuses = [...this.statuses, { status: this.status, timestamp: now }].slice(-recentStatuses)
    return { name: this.device.id, status: this.status, statuses: this.statuses }
  }

  get webhooks(): ReadonlyArray<WebhookConfig> {
    return Array.isArray(this.config.webhooks) ? this.config.webhooks as ReadonlyArray<WebhookConfig> : []
  }

  get history(): ReadonlyArray<HistoryMessage> {
    return this.#history
  }

  /** Keeps messages with their furthest ack. An edit changes the row, a revocation hides it. */
  remember(event: string, payload: Payload): void {
    this.#learn(payload)
    if (event === "message") {
      const at = Math.floor(Date.parse(String(payload.timestamp)) / 1000)
      this.#history.push({ payload, ack: payload.is_from_me === true ? 1 : 2, revoked: false, at })
      if (this.#history.length > historyMax) this.#history.shift()
    } else if (event === "message.edited") {
      const row = this.#history.find((one) => one.payload.id === payload.original_message_id)
      if (row !== undefined) row.payload = { ...row.payload, body: payload.body }
    } else if (event === "message.revoked") {
      const index = this.#history.findIndex((one) => one.payload.id === payload.revoked_message_id)
      const row = this.#history[index]
      // Some rows are removed, so that later ones move up; others leave an empty place in the pages.
      if (row !== undefined && vary(String(row.payload.id), 2) === 0) this.#history.splice(index, 1)
      else if (row !== undefined) row.revoked = true
    } else if (event === "message.ack" && payload.from !== this.device.jid) {
      const ack = ackNumbers.get(String(payload.receipt_type)) ?? 0
      const ids = Array.isArray(payload.ids) ? payload.ids as ReadonlyArray<unknown> : []
      for (const row of this.#history) {
        if (row.payload.is_from_me === true && ids.includes(row.payload.id)) row.ack = Math.max(row.ack, ack)
      }
    }
  }

  #learn(payload: Payload): void {
    for (const [address, lid] of [[payload.from, payload.from_lid], [payload.chat_id, payload.chat_lid]]) {
      if (typeof address === "string" && typeof lid === "string" && address.endsWith("@s.whatsapp.net")) {
        this.lids.set(lid, address)
      }
    }
  }
}
