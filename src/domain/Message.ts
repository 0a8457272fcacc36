/**
 * A WhatsApp message, in or out, as it is stored: once per identity, the first write wins, the status only moves
 * forward.
 */
import { Schema } from "effect"
import { DeviceId, MessageId, Timestamp } from "./Ids.ts"
import { OnUnknown, SendReason, SendWait } from "./Send.ts"
import { Via } from "./Via.ts"

/** What an ack can say of a message. */
export const AckStatus = Schema.Literals(["pending", "sent", "delivered", "read", "played", "failed"])
export type AckStatus = typeof AckStatus.Type

/** Of a message of ours also what becomes of it before any ack, and without one. */
export const MessageStatus = Schema.Literals([...AckStatus.literals, "scheduled", "unknown", "cancelled", "expired"])
export type MessageStatus = typeof MessageStatus.Type

/** The order of the statuses. `failed` is outside of it: it follows only `pending`, and nothing follows it. */
const statusRank: Readonly<Record<Exclude<AckStatus, "failed">, number>> = {
  pending: 0,
  sent: 1,
  delivered: 2,
  read: 3,
  played: 4
}

/**
 * The status after an ack: a join, so acks may come late, doubled and in any order.
 */
export const advance = (current: AckStatus, ack: AckStatus): AckStatus => {
  if (current === "failed") return current
  if (ack === "failed") return current === "pending" ? "failed" : current
  return statusRank[ack] > statusRank[current] ? ack : current
}

/** What is known of a message as something that Columba sends. */
const Sending = Schema.Struct({
  /** When it is to be sent; null: as soon as possible. */
  scheduledAt: Schema.NullOr(Timestamp),
  /** If it is not sent by then, it expires. */
  expiresAt: Timestamp,
  onUnknown: OnUnknown,
  /** Of a reaction, an edit or a revocation: the message that it is done to. */
  target: Schema.NullOr(MessageId),
  /** How often it was given to the gateway, or was about to be. */
  attempts: Schema.Int,
  /** Why it failed, is unknown or is still waiting after an attempt. */
  reason: Schema.NullOr(SendReason),
  detail: Schema.NullOr(Schema.String).annotate({ description: "The reason in one sentence, for people" }),
  /** Where a list or a read of it finds it waiting. */
  waitsFor: Schema.optionalKey(SendWait.annotate({ description: "What it waits for, and until when" }))
}).annotate({ identifier: "MessageSending" })

const MessageDirection = Schema.Literals(["in", "out"])

export const Message = Schema.Struct({
  id: MessageId,
  deviceId: DeviceId,
  direction: MessageDirection,
  /** The id at WhatsApp. The sender chooses it, so it is no identity by itself. Null: it is not sent, or not known to be. */
  waId: Schema.NullOr(Schema.String),
  chat: Schema.String,
  sender: Schema.String,
  /** `text`, `image`, `audio`, `video`, `document`, `sticker`, `location`, `contact`, … an open set. */
  type: Schema.String,
  body: Schema.NullOr(Schema.String),
  status: MessageStatus,
  via: Via.annotate({ description: "How it came first: over the session, by a webhook or from the gateway's history" }),
  delaySeconds: Schema.Int.annotate({
    description:
      "How long after the time that WhatsApp claims it was recorded; negative where that time was still to come"
  }),
  /** The time that WhatsApp claims. */
  occurredAt: Timestamp,
  createdAt: Timestamp,
  updatedAt: Timestamp,
  /** Of a message that was given to Columba to send. */
  sending: Schema.optionalKey(Sending)
}).annotate({ identifier: "Message", description: "A message as it is stored, with its furthest status" })
export type Message = typeof Message.Type
