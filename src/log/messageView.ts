/** A message as readers get it: made from its event and its status row, if it has one. */
import type { EventKind } from "../domain/Event.ts"
import type { MessageData } from "../domain/EventData.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { Message, AckStatus } from "../domain/Message.ts"
import type { Via } from "../domain/Via.ts"
import { formatMessageId } from "../services/EventIdentity.ts"

export interface MessageEvent {
  readonly message: string
  readonly kind: EventKind
  readonly deviceId: DeviceId
  readonly occurredAt: string
  readonly recordedAt: string
  readonly via: Via
  readonly data: string
}

/** A message that arrived has been delivered to us; an own message that arrived has been sent. */
const firstStatus = (kind: EventKind): AckStatus => kind === "message.sent" ? "sent" : "delivered"

export const viewMessage = (
  event: MessageEvent,
  moved: { readonly status: AckStatus; readonly updatedAt: string } | null
): Message => {
  const data = JSON.parse(event.data) as MessageData
  return {
    id: formatMessageId(event.message.replaceAll("-", "")),
    deviceId: event.deviceId,
    direction: event.kind === "message.sent" ? "out" : "in",
    waId: data.waId,
    chat: data.chat,
    sender: data.sender,
    type: data.type,
    body: data.body,
    status: moved?.status ?? firstStatus(event.kind),
    via: event.via,
    delaySeconds: Math.trunc((Date.parse(event.recordedAt) - Date.parse(event.occurredAt)) / 1000),
    occurredAt: event.occurredAt,
    createdAt: event.recordedAt,
    updatedAt: moved?.updatedAt ?? event.recordedAt
  }
}
