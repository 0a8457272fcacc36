/** Rows of the table `sends`, as the repository and the lists of messages read them. */
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import type { OnUnknown, SendBody, SendReason, SendState } from "../../domain/Send.ts"
import type { StoredSend } from "../../services/SendRepository.ts"

export interface SendRow {
  readonly id: string
  readonly device_id: string
  readonly chat: string
  readonly sender: string
  readonly content: string
  readonly state: string
  readonly on_unknown: string
  readonly attempts: number
  readonly wa_id: string | null
  readonly reason: string | null
  readonly detail: string | null
  readonly scheduled_ms: number | null
  readonly expires_ms: number
  readonly claimed_ms: number | null
  readonly created_ms: number
  readonly updated_ms: number
}

const millis = (column: string, name: string): string =>
  `(extract(epoch from s.${column}) * 1000)::float8 as ${name}_ms`

export const sendColumns = `s.id, s.device_id, s.chat, s.sender, s.content::text as content, s.state, s.on_unknown,
  s.attempts, s.wa_id, s.reason, s.detail, ${millis("scheduled_at", "scheduled")}, ${millis("expires_at", "expires")},
  ${millis("claimed_at", "claimed")}, ${millis("created_at", "created")}, ${millis("updated_at", "updated")}`

export const toTime = (ms: number | null): string | null => ms === null ? null : new Date(ms).toISOString()

export const toSend = (row: SendRow): StoredSend => ({
  id: row.id as MessageId,
  deviceId: row.device_id as DeviceId,
  chat: row.chat,
  sender: row.sender,
  body: JSON.parse(row.content) as SendBody,
  state: row.state as SendState,
  onUnknown: row.on_unknown as OnUnknown,
  scheduledAt: toTime(row.scheduled_ms),
  expiresAt: new Date(row.expires_ms).toISOString(),
  attempts: row.attempts,
  claimedAt: toTime(row.claimed_ms),
  waId: row.wa_id,
  reason: row.reason as SendReason | null,
  detail: row.detail,
  createdAt: new Date(row.created_ms).toISOString(),
  updatedAt: new Date(row.updated_ms).toISOString()
})
