/** The log's records of a message that Columba sends: events and the change of its row, in one transaction. */
import type { EventDraft } from "../domain/Event.ts"
import type { MessageData } from "../domain/EventData.ts"
import type { Timestamp } from "../domain/Ids.ts"
import { isAction, isMedia } from "../domain/Send.ts"
import type { ActionContent, OutgoingContent, SendReason, ReportedState } from "../domain/Send.ts"
import { deriveMessageKey, identifyReaction, makeEventId } from "./EventIdentity.ts"
import type { LogEffect } from "./LogEffect.ts"
import type { StoredSend } from "./SendRepository.ts"

export interface SendOutcome {
  readonly state: ReportedState
  readonly waId: string | null
  /** WhatsApp's time of a sent message; omitted if it was not reported. */
  readonly sentAt?: Timestamp | null
  readonly reason: SendReason | null
  readonly detail: string | null
}

export interface SendRecords {
  readonly drafts: ReadonlyArray<EventDraft>
  readonly effects: ReadonlyArray<LogEffect>
}

export const sentAs = (waId: string | null, sentAt: Timestamp | null = null): SendOutcome => ({
  state: "sent",
  waId,
  sentAt,
  reason: null,
  detail: null
})

/**
 * Repeating it is harmless: the events have identities. If the gateway has echoed the message before, the log has the
 * event already. `sender` is the account.
 */
export const recordOutcome = (send: StoredSend, outcome: SendOutcome, sender: string, now: number): SendRecords => {
  const { chat, deviceId, id } = send
  const { detail, reason, state, waId } = outcome
  const common = {
    deviceId,
    occurredAt: new Date(now).toISOString(),
    via: "columba" as const,
    aliases: []
  }
  const status: EventDraft = {
    ...common,
    id: makeEventId(now),
    kind: "message.status",
    data: { messageId: id, waId, chat, status: state, reason, detail },
    identity: { chat: "", sender: "", fromMe: true, waId: id, rank: state }
  }
  const effect: LogEffect = {
    _tag: "Send",
    send: id,
    state,
    message: waId === null ? null : deriveMessageKey(deviceId, waId),
    waId,
    reason,
    detail
  }
  if (waId === null || state !== "sent") return { drafts: [status], effects: [effect] }
  const { content } = send.body
  // As the gateway's history has it.
  const occurredAt = outcome.sentAt ?? common.occurredAt
  if (isAction(content)) {
    return {
      drafts: [
        { ...common, occurredAt, id: makeEventId(now), ...describeAction(content, chat, sender, waId, occurredAt) },
        status
      ],
      effects: [effect]
    }
  }
  const sent: EventDraft = {
    ...common,
    occurredAt,
    id: makeEventId(now),
    kind: "message.sent",
    data: {
      messageId: id,
      waId,
      chat,
      sender,
      fromMe: true,
      type: typeOf(send.body.content),
      body: readText(send.body.content),
      ...describeMedia(send.body.content)
    },
    identity: { chat, sender, fromMe: true, waId, rank: "" }
  }
  return { drafts: [sent, status], effects: [effect] }
}

const actionKinds = { reaction: "message.reaction", edit: "message.edited", revoke: "message.revoked" } as const

/** Under the identity that gateways report: a reaction has no id of its own in their histories. */
const describeAction = (content: ActionContent, chat: string, sender: string, waId: string, occurredAt: string) => {
  const targetWaId = content.target.waId
  const body = readText(content)
  return {
    kind: actionKinds[content.type],
    data: { waId, targetWaId, chat, sender, fromMe: true, body },
    identity: content.type === "reaction"
      ? identifyReaction({ chat, sender }, true, targetWaId, content.emoji, occurredAt)
      : { chat, sender, fromMe: true, waId, rank: "" }
  }
}

/** The type in events and lists: a voice note is an audio message. */
export const typeOf = ({ type }: OutgoingContent): string => type === "voice" ? "audio" : type

const describeMedia = (content: OutgoingContent): Pick<MessageData, "media"> =>
  !isMedia(content) ? {} : {
    media: {
      kind: typeOf(content),
      ...(content.fileName === null ? undefined : { fileName: content.fileName }),
      ...(content.caption === null ? undefined : { caption: content.caption })
    }
  }

/** The displayed text of a message. */
export const readText = (content: OutgoingContent): string | null => {
  switch (content.type) {
    case "text":
      return content.text
    case "poll":
      return content.poll.question
    case "reaction":
      return content.emoji
    case "edit":
      return content.text
    default:
      return isMedia(content) ? content.caption : null
  }
}
