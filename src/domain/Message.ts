/**
 * A stored WhatsApp message, incoming or outgoing: one row per identity, the first write wins, the status only moves
 * forward.
 */
import { Schema } from "effect"
import { DeviceId, MessageId, Timestamp } from "./Ids.ts"
import { OnUnknown, SendReason, SendWait } from "./Send.ts"
import { Via } from "./Via.ts"

/** The statuses that an ack can report. */
export const AckStatus = Schema.Literals(["pending", "sent", "delivered", "read", "played", "failed"])
export type AckStatus = typeof AckStatus.Type

/** For messages that Columba sends, also the states before and without any ack. */
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

/** The status after an ack: a join, so acks may arrive late, duplicated and in any order. */
export const advance = (current: AckStatus, ack: AckStatus): AckStatus => {
  if (current === "failed") return current
  if (ack === "failed") return current === "pending" ? "failed" : current
  return statusRank[ack] > statusRank[current] ? ack : current
}

/** The sending of a message that Columba sends. */
const Sending = Schema.Struct({
  /** When it is to be sent; null: as soon as possible. */
  scheduledAt: Schema.NullOr(Timestamp),
  /** The message expires if it is not sent by then. */
  expiresAt: Timestamp,
  onUnknown: OnUnknown,
  /** For a reaction, an edit or a revocation: the message that it applies to. */
  target: Schema.NullOr(MessageId),
  /** How often the message was sent to the gateway, or was about to be. */
  attempts: Schema.Int,
  /** Why the message failed, is unknown or is still waiting after an attempt. */
  reason: Schema.NullOr(SendReason),
  detail: Schema.NullOr(Schema.String).annotate({ description: "The reason in one sentence, for people" }),
  /** Set if a list or a read finds the message waiting. */
  waitsFor: Schema.optionalKey(SendWait.annotate({ description: "What it waits for, and until when" }))
}).annotate({ identifier: "MessageSending" })

const MessageDirection = Schema.Literals(["in", "out"])

export const Message = Schema.Struct({
  id: MessageId,
  deviceId: DeviceId,
  direction: MessageDirection,
  /**
   * The id at WhatsApp. The sender chooses it, so it is no identity by itself. Null if the message is not sent, or not
   * known to be.
   */
  waId: Schema.NullOr(Schema.String),
  chat: Schema.String,
  sender: Schema.String,
  /** `text`, `image`, `audio`, `video`, `document`, `sticker`, `location`, `contact`, … an open set. */
  type: Schema.String,
  body: Schema.NullOr(Schema.String),
  status: MessageStatus,
  via: Via.annotate({
    description: "How it first arrived: over the session, by a webhook or from the gateway's history"
  }),
  delaySeconds: Schema.Int.annotate({
    description: "How long after the time that WhatsApp claims it was recorded; negative if that time was in the future"
  }),
  /** The time that WhatsApp claims. */
  occurredAt: Timestamp,
  createdAt: Timestamp,
  updatedAt: Timestamp,
  /** Set for messages that Columba was asked to send. */
  sending: Schema.optionalKey(Sending)
}).annotate({ identifier: "Message", description: "A message as it is stored, with its furthest status" })
export type Message = typeof Message.Type
