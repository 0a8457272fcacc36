/** A message that Columba sends, as readers get it. */
import type { Message, AckStatus, MessageStatus } from "../domain/Message.ts"
import { isAction } from "../domain/Send.ts"
import type { SendState } from "../domain/Send.ts"
import { readText, typeOf } from "./sendDrafts.ts"
import type { StoredSend } from "./SendRepository.ts"

/** The acks since the message was sent. */
export interface Acknowledged {
  readonly status: AckStatus
  readonly updatedAt: string
}

export const viewSend = (send: StoredSend, moved: Acknowledged | null = null): Message => {
  const { attempts, chat, createdAt, detail, deviceId, expiresAt, id, onUnknown, reason, scheduledAt, sender, waId } =
    send
  const { content } = send.body
  return {
    id,
    deviceId,
    direction: "out",
    waId,
    chat,
    sender,
    type: typeOf(content),
    body: readText(content),
    status: moved === null ? statusOf(send.state) : moved.status,
    via: "columba",
    delaySeconds: 0,
    occurredAt: createdAt,
    createdAt,
    updatedAt: moved === null ? send.updatedAt : moved.updatedAt,
    sending: {
      scheduledAt,
      expiresAt,
      onUnknown,
      target: isAction(content) ? content.target.message : null,
      attempts,
      reason,
      detail,
      ...(send.state === "sending" ? { waitsFor: { reason: "gateway", until: null } } : {})
    }
  }
}

export const statusOf = (state: SendState): MessageStatus => state === "sending" ? "pending" : state
