/**
 * Prepares drafts for a store, and turns a draft that no store would accept into a `frame.rejected` that every store
 * accepts.
 */
import type { EventDraft } from "../domain/Event.ts"
import { rejectedRawMax } from "../domain/EventData.ts"
import type { RejectedData } from "../domain/EventData.ts"
import type { EventId } from "../domain/Ids.ts"
import { canonical } from "../domain/Jid.ts"
import { clean, deriveKey, digest, parseMessageId } from "../services/EventIdentity.ts"
import { digestContent, deriveKeyParts } from "./EventKey.ts"
import { checkEffect, isRare } from "../services/LogEffect.ts"
import type { LogEffect } from "../services/LogEffect.ts"
import type { PreparedDraft } from "./LogStore.ts"

/** The size of a queued draft beyond its JSON text: the objects around it, roughly. */
const overheadBytes = 512

/**
 * The longest address or id. WhatsApp's have some tens of characters. They are parts of index entries, for which a
 * database has a bound of its own (2,704 bytes in Postgres): a longer address would fail every batch that contains it.
 */
const addressBytesMax = 1024

/** The deepest nesting. A database parses JSON recursively; one draft that exhausts its stack would fail every batch. */
const depthMax = 500

/** RFC 3339, as far as readers may rely on it. */
const timestampPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/

// oxlint-disable-next-line no-control-regex
const nul = /\u0000/g

/** Text columns hold anything but NUL. The JSON of the event keeps the original. */
const text = (value: string): string => value.replace(nul, "\ufffd")

/** `makeId` makes the id of the `frame.rejected` that replaces a draft that cannot be stored. */
export const prepare = (draft: EventDraft, makeId: () => EventId): PreparedDraft => {
  const reject = (detail: string, raw: string) => standIn(draft, makeId(), "unreadable", detail, raw)
  let data: string | undefined
  try {
    data = JSON.stringify(draft.data)
  } catch {
    return reject("The event's data cannot be written as JSON", "")
  }
  if (data === undefined) return reject("The event has no data", "")
  if (!timestampPattern.test(draft.occurredAt) || Number.isNaN(Date.parse(draft.occurredAt))) {
    return reject("The event's time is not RFC 3339", data)
  }
  if (isDeeperThan(data, depthMax)) return reject(`The event's data is nested deeper than ${depthMax} levels`, data)
  try {
    const prepared = prepareUnchecked(draft, data)
    return hasLongAddress(prepared)
      ? reject(`The event has an address or id of more than ${addressBytesMax} bytes`, data)
      : prepared
  } catch {
    return reject(`The event's data is not that of a ${draft.kind}`, data)
  }
}

const prepareUnchecked = (draft: EventDraft, data: string): PreparedDraft => {
  const keyParts = deriveKeyParts(draft)
  const key = keyParts === null ? null : deriveKey(keyParts)
  const dataBytes = Buffer.byteLength(data)
  return {
    id: draft.id,
    kind: draft.kind,
    deviceId: draft.deviceId,
    occurredAt: draft.occurredAt,
    via: draft.via,
    data,
    dataBytes,
    key,
    keyParts,
    content: digestContent(draft),
    message: isMessage(draft) ? key : null,
    chat: readChat(draft),
    effects: project(draft),
    aliases: draft.aliases.map((alias) => ({ lid: clean(canonical(alias.lid)), jid: clean(canonical(alias.jid)) })),
    bytes: dataBytes + overheadBytes
  }
}

const isLong = (address: string | null | undefined): boolean =>
  typeof address === "string" && address.length > addressBytesMax / 3 && Buffer.byteLength(address) > addressBytesMax

const hasLongAddress = ({ aliases, chat, keyParts }: PreparedDraft): boolean =>
  isLong(chat) || isLong(keyParts?.chat) || isLong(keyParts?.sender) ||
  aliases.some(({ jid, lid }) => isLong(jid) || isLong(lid))

/** Nearly free for most events: a level takes at least two characters, so a short text cannot be too deep. */
const isDeeperThan = (json: string, levels: number): boolean => {
  if (json.length < levels * 2) return false
  let depth = 0
  let inString = false
  for (let index = 0; index < json.length; index++) {
    const character = json.charCodeAt(index)
    if (character === 0x5c && inString) index++
    else if (character === 0x22) inString = !inString
    else if (inString) continue
    else if (character === 0x7b || character === 0x5b) {
      depth++
      if (depth > levels) return true
    } else if (character === 0x7d || character === 0x5d) depth--
  }
  return false
}

const isMessage = (draft: EventDraft): boolean => draft.kind === "message.received" || draft.kind === "message.sent"

/** The chat that an event belongs to: readers filter by it, and an erasure of the chat uses it. */
const readChat = (draft: EventDraft): string | null => {
  switch (draft.kind) {
    case "message.received":
    case "message.sent":
    case "message.ack":
    case "message.status":
    case "message.reaction":
    case "message.edited":
    case "message.revoked":
      return text(draft.data.chat)
    default:
      return null
  }
}

/** The changes that an event causes besides being recorded. */
const project = (draft: EventDraft): ReadonlyArray<LogEffect> => {
  switch (draft.kind) {
    case "message.ack": {
      const { messageId, status } = draft.data
      const message = messageId === null ? null : parseMessageId(messageId)
      return message === null ? [] : [{ _tag: "Ack", message, status }]
    }
    case "device.state": {
      const { jid, phone, state } = draft.data
      return [{
        _tag: "State",
        device: draft.deviceId,
        state: JSON.stringify(state),
        tag: state._tag,
        jid: jid === null ? null : text(jid),
        phone: phone === null ? null : text(phone)
      }]
    }
    case "gap.opened": {
      const { gapId: gap, ...data } = draft.data
      return [checkEffect({ _tag: "GapOpen", gap, device: draft.deviceId, ...data })]
    }
    case "gap.closed": {
      const { gapId: gap, ...data } = draft.data
      return [checkEffect({ _tag: "GapClose", gap, device: draft.deviceId, ...data, proven: data.proven.join(",") })]
    }
    default:
      return []
  }
}

/** The effects of a group in addition to those of its drafts. Throws for effects that no store can accept. */
export const prepareEffects = (effects: ReadonlyArray<LogEffect>): ReadonlyArray<LogEffect> =>
  effects.map((effect) => isRare(effect) ? checkEffect(effect) : effect)

const messageIdPrefix = "{\"messageId\":\""
const messageIdLength = 30

/** Whether the data begins with a message id, as that of acks does; a store that replaces the id keeps the length. */
export const beginsWithMessageId = (data: string): boolean => data.startsWith(`${messageIdPrefix}msg_`)

/** The data of an ack with another message id. The append function does the same. */
export const renameMessage = (data: string, messageId: string): string =>
  `${messageIdPrefix}${messageId}${data.slice(messageIdPrefix.length + messageIdLength)}`

interface Rejectable {
  readonly deviceId: PreparedDraft["deviceId"]
  readonly via: PreparedDraft["via"]
  readonly occurredAt: string
}

const standIn = (
  draft: Rejectable,
  id: EventId,
  reason: RejectedData["reason"],
  detail: string,
  raw: string,
  key: string | null = null
): PreparedDraft => {
  const rejected: RejectedData = { reason, detail, raw: raw.slice(0, rejectedRawMax), rawLength: raw.length }
  const data = JSON.stringify(rejected)
  const dataBytes = Buffer.byteLength(data)
  return {
    id,
    kind: "frame.rejected",
    deviceId: draft.deviceId,
    occurredAt: timestampPattern.test(draft.occurredAt) ? draft.occurredAt : timeOfEventId(id),
    via: draft.via,
    data,
    dataBytes,
    key,
    keyParts: null,
    content: null,
    message: null,
    chat: null,
    effects: [],
    aliases: [],
    bytes: dataBytes + overheadBytes
  }
}

/** Keeps a draft that a store refused. */
export const unreadable = (draft: PreparedDraft, id: EventId, detail: string): PreparedDraft =>
  standIn(draft, id, "unreadable", detail, draft.data)

/** Keeps the different content of a known identity, once per content however often it is repeated. */
export const conflicting = (draft: PreparedDraft, id: EventId): PreparedDraft =>
  standIn(
    draft,
    id,
    "conflict",
    `A ${draft.kind} of this identity is in the log with other content; the first one stands`,
    draft.data,
    digest(`conflict ${draft.key} ${draft.content}`)
  )

/** A UUIDv7 begins with its time. */
const timeOfEventId = (id: EventId): string =>
  new Date(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toISOString()
