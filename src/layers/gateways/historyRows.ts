/**
 * Decodes a row of the history of a `gowa` or `bridge` gateway into the same events, with the same identities, as the live
 * ones. A row has fewer facts than those, and where the gateway has rewritten it (an edit, a label in place
 * of a file) it has other content: such a row is still the same message.
 */
import { Predicate, Result, Schema } from "effect"
import type { EventDraft } from "../../domain/Event.ts"
import type { MediaData } from "../../domain/EventData.ts"
import { deriveMessageId, identifyReaction, makeEventId } from "../../services/EventIdentity.ts"
import type { SessionTarget } from "../../services/GatewayParts.ts"
import { findPlace, noAliases, type Place } from "./places.ts"
import { identifyCall } from "./eventDecoder.ts"
import type { Payload } from "./eventPayloads.ts"
import { rejectText, repeatableOrigin } from "./rejects.ts"
import { readTimestamp } from "./timestamps.ts"

const text = Schema.optionalKey(Schema.NullOr(Schema.String))

const Row = Schema.Struct({
  id: Schema.String.check(Schema.isMinLength(1)),
  chat_jid: text,
  sender_jid: text,
  content: text,
  timestamp: text,
  is_from_me: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
  media_type: text,
  filename: text,
  file_length: Schema.optionalKey(Schema.NullOr(Schema.Finite)),
  reactions: Schema.optionalKey(Schema.Unknown)
})
type Row = typeof Row.Type

const Reaction = Schema.Struct({
  emoji: Schema.String,
  sender_jid: Schema.String,
  is_from_me: Schema.optionalKey(Schema.NullOr(Schema.Boolean)),
  timestamp: Schema.String
})

const decodeRow = Schema.decodeUnknownResult(Row)
const decodeReaction = Schema.decodeUnknownResult(Reaction)

/** Fields with a place of their own. */
const rowFields = new Set(["id", "chat_jid", "sender_jid", "content", "is_from_me", "media_type", "reactions"])

/** More than the reactions of a chat's members to one message: further ones are not read. */
const reactionsMax = 1024

/** The time of a raw row in milliseconds since the epoch; null where it has no valid time. */
export const timeOfRow = (row: unknown): number | null => {
  const time = Predicate.isObject(row) ? readTimestamp(row.timestamp) : null
  return time === null ? null : Date.parse(time)
}

/** The events of one raw row, the message before the changes to it. */
export const readRow = (raw: unknown, target: SessionTarget, now: number): ReadonlyArray<EventDraft> => {
  const decoded = decodeRow(raw)
  if (Result.isFailure(decoded)) return [reject(raw, target, now, "the row lacks what makes a message")]
  const row = decoded.success
  const occurredAt = readTimestamp(row.timestamp)
  if (occurredAt === null) return [reject(raw, target, now, "the row has no time")]
  const extra = collectExtra(raw as Payload)
  if (row.media_type === "call") return [makeCall(row, raw as Payload, target, now, occurredAt)]
  const fromMe = row.is_from_me === true
  const place = findPlace({ chat_id: row.chat_jid ?? null, from: row.sender_jid ?? null }, fromMe, target.jid)
  if (place === null) return [reject(raw, target, now, "the row names neither chat nor sender")]
  return [
    makeMessage(row, place, fromMe, target, now, occurredAt, extra),
    ...makeReactions(row, place.chat, target, now)
  ]
}

const makeMessage = (
  row: Row,
  { chat, sender }: Place,
  fromMe: boolean,
  target: SessionTarget,
  now: number,
  occurredAt: string,
  extra: Record<string, Schema.Json> | undefined
): EventDraft => {
  const media = readMedia(row)
  const body = row.content || null
  return {
    id: makeEventId(now),
    kind: fromMe ? "message.sent" : "message.received",
    deviceId: target.deviceId,
    occurredAt,
    via: "backfill",
    data: {
      messageId: deriveMessageId(target.deviceId, { fromMe, chat, sender, waId: row.id }),
      waId: row.id,
      chat,
      sender,
      fromMe,
      type: media?.kind ?? (body === null ? "unknown" : "text"),
      body,
      ...(media === undefined ? undefined : { media }),
      ...(extra === undefined ? undefined : { extra })
    },
    identity: { chat, sender, fromMe, waId: row.id, rank: "" },
    aliases: noAliases
  }
}

const readMedia = ({ file_length, filename, media_type }: Row): MediaData | undefined =>
  media_type
    ? {
      kind: media_type,
      ...(filename ? { fileName: filename } : undefined),
      ...(file_length && Number.isSafeInteger(file_length) && file_length > 0 ? { size: file_length } : undefined)
    }
    : undefined

const makeCall = (
  row: Row,
  raw: Payload,
  target: SessionTarget,
  now: number,
  occurredAt: string
): EventDraft => ({
  id: makeEventId(now),
  kind: "gateway.call.offer",
  deviceId: target.deviceId,
  occurredAt,
  via: "backfill",
  data: raw,
  identity: identifyCall(row.id.replace(/^call:/, "")),
  aliases: noAliases
})

const makeReactions = (row: Row, chat: string, target: SessionTarget, now: number): ReadonlyArray<EventDraft> => {
  if (!Array.isArray(row.reactions)) return []
  return row.reactions.slice(0, reactionsMax).flatMap((raw): ReadonlyArray<EventDraft> => {
    const decoded = decodeReaction(raw)
    if (Result.isFailure(decoded)) return []
    const { emoji, is_from_me, sender_jid, timestamp } = decoded.success
    const occurredAt = readTimestamp(timestamp)
    const fromMe = is_from_me === true
    const place = findPlace({ chat_id: chat, from: sender_jid }, fromMe, target.jid)
    if (occurredAt === null || place === null) return []
    return [{
      id: makeEventId(now),
      kind: "message.reaction",
      deviceId: target.deviceId,
      occurredAt,
      via: "backfill",
      data: { waId: "", targetWaId: row.id, chat, sender: place.sender, fromMe, body: emoji },
      identity: identifyReaction(place, fromMe, row.id, emoji, occurredAt),
      aliases: noAliases
    }]
  })
}

const collectExtra = (raw: Payload): Record<string, Schema.Json> | undefined => {
  let extra: Record<string, Schema.Json> | undefined
  for (const key in raw) {
    const value = raw[key]
    if (rowFields.has(key) || key === "__proto__" || value === undefined || value === "" || value === null) continue
    extra ??= {}
    extra[key] = value
  }
  return extra
}

const reject = (raw: unknown, target: SessionTarget, now: number, detail: string): EventDraft => {
  const text = JSON.stringify(raw) ?? ""
  const event = rejectText(text, target, now, "unreadable", detail, makeEventId, repeatableOrigin("backfill", text))
  if (event._tag !== "Record") throw new Error("a reject is a record")
  return event.draft
}
