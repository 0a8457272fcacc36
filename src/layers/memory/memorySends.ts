/** The table of messages to send as a map, with the changes by the log's transactions. Follows the SQL one by one. */
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import type { SendReason, SendState } from "../../domain/Send.ts"
import type { PreparedDraft } from "../../log/LogStore.ts"
import { beginsWithMessageId } from "../../log/PreparedDraft.ts"
import type { EffectOf } from "../../services/LogEffect.ts"
import type { StoredSend } from "../../services/SendRepository.ts"

export interface MemorySend {
  readonly send: StoredSend
  /** 1, 2, 3 … in order of acceptance. */
  readonly ordinal: number
  /** The log's newest number when it was accepted. */
  readonly head: number
  readonly key: string | null
  readonly digest: string | null
  readonly dueAt: number
  readonly epoch: number
  /** The key of its WhatsApp id. */
  readonly message: string | null
  readonly untold: boolean
  readonly fetching: boolean
}

type Sends = Map<string, MemorySend>

/** The message id that an ack of a message of ours gets; null for every other event. */
export const nameAck = (sends: ReadonlyMap<string, MemorySend>, draft: PreparedDraft): MessageId | null => {
  if (draft.kind !== "message.ack" || sends.size === 0 || !beginsWithMessageId(draft.data)) return null
  const ack = draft.effects.find(({ _tag }) => _tag === "Ack") as EffectOf<"Ack"> | undefined
  return ack === undefined ? null : findByMessage(sends, ack.message)?.send.id ?? null
}

export const findByMessage = (sends: ReadonlyMap<string, MemorySend>, message: string): MemorySend | undefined =>
  [...sends.values()].find((row) => row.message === message)

export const applySend = (
  sends: Sends,
  { detail, message, reason, send: id, state, waId }: EffectOf<"Send">,
  recordedAt: string
): void => {
  const row = sends.get(id)
  if (row === undefined) return
  const { send } = row
  const moves = send.state === state || send.state === "sending" ||
    (send.state === "unknown" && (state === "sent" || state === "failed"))
  if (!moves) return
  sends.set(id, {
    ...row,
    message: row.message ?? message,
    untold: false,
    send: {
      ...send,
      state: state as SendState,
      waId: send.waId ?? waId,
      reason: reason as SendReason | null,
      detail,
      updatedAt: recordedAt
    }
  })
}

/** With null, all of the device. */
export const eraseSends = (sends: Sends, device: DeviceId, chats: ReadonlyArray<string> | null): void => {
  for (const [id, { send }] of sends) {
    if (send.deviceId === device && (chats === null || chats.includes(send.chat))) sends.delete(id)
  }
}
