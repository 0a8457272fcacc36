/**
 * A WhatsApp message, in or out, as our store keeps it: once per identity, first write wins, status only forward.
 */
import { Schema } from "effect"
import { DeviceId, MessageId, Timestamp } from "./Ids.ts"

export const MessageStatus = Schema.Literals(["pending", "sent", "delivered", "read", "played", "failed"])
export type MessageStatus = typeof MessageStatus.Type

/** How far a message has come. `failed` stands apart: it is reached from `pending` only, and left by nothing. */
export const statusRank: Readonly<Record<Exclude<MessageStatus, "failed">, number>> = {
  pending: 0,
  sent: 1,
  delivered: 2,
  read: 3,
  played: 4
}

/**
 * The status after an ack: a join, so acks may come late, doubled and in any order.
 */
export const advance = (current: MessageStatus, ack: MessageStatus): MessageStatus => {
  if (current === "failed") return current
  if (ack === "failed") return current === "pending" ? "failed" : current
  return statusRank[ack] > statusRank[current] ? ack : current
}

export const MessageDirection = Schema.Literals(["in", "out"])

export const Message = Schema.Struct({
  id: MessageId,
  deviceId: DeviceId,
  direction: MessageDirection,
  /** The id WhatsApp knows it by. Chosen by the sender, so never an identity by itself. */
  waId: Schema.String,
  chat: Schema.String,
  sender: Schema.String,
  /** `text`, `image`, `audio`, `video`, `document`, `sticker`, `location`, `contact`, … an open set. */
  type: Schema.String,
  body: Schema.NullOr(Schema.String),
  status: MessageStatus,
  /** The time WhatsApp claims, as claimed. */
  occurredAt: Timestamp,
  createdAt: Timestamp,
  updatedAt: Timestamp
}).annotate({ identifier: "Message", description: "A message as it is stored, with its furthest status" })
export type Message = typeof Message.Type
