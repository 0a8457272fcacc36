/**
 * Decodes events of the envelope `{event, device_id, payload}`, which `bridge` and `gowa` gateways share. Total: an
 * event without the fields of its identity becomes a `frame.rejected` that keeps the text, and every field that we do
 * not read is kept in `extra`.
 *
 * Not decided here: which device the text belongs to, and how a repeat is handled (the log).
 */
import type { Schema } from "effect"
import type { EventDraft, EventIdentity } from "../../domain/Event.ts"
import type { MediaData, MessageActionData, RejectedData } from "../../domain/EventData.ts"
import type { EventId } from "../../domain/Ids.ts"
import type { AckStatus } from "../../domain/Message.ts"
import { canonical } from "../../domain/Jid.ts"
import { deriveMessageId, identifyReaction } from "../../services/EventIdentity.ts"
import type { SessionEvent, SessionTarget } from "../../services/GatewayParts.ts"
import { findPlace, listAliases, noAliases } from "./places.ts"
import { depthMax } from "../../domain/nesting.ts"
import { isTooDeep } from "./depth.ts"
import { decodeAck, decodeAction, decodeMessage, type Envelope, type Payload, readEnvelope } from "./eventPayloads.ts"
import { mayLoseNumbers, parseExact } from "./exactNumbers.ts"
import { type Origin, rejectText } from "./rejects.ts"
import { readTimestamp } from "./timestamps.ts"

/** One ack frame becomes one event per id. Real frames hold a screenful; a frame of 1 MiB could hold 100,000. */
const ackIdsMax = 4096

type Extra = Record<string, Schema.Json>

/** The context in which one frame is decoded, gathered once so that the readers below take one argument. */
export interface Frame {
  readonly text: string
  readonly target: SessionTarget
  readonly now: number
  readonly makeId: (now: number) => EventId
  /** The way by which the frame came. */
  readonly origin: Origin
}

/** A frame with a readable payload. */
interface ReadFrame extends Frame {
  readonly payload: Payload
  /** The payload with the text of numbers that a double cannot hold. Computed when a field is kept that may hold one. */
  exact: Payload | null
}

/** Content fields, and the message type of each. The set is open: an unlisted kind has type `unknown`. */
const contentTypes = new Map([
  ["image", "image"],
  ["video", "video"],
  ["video_note", "video_note"],
  ["audio", "audio"],
  ["document", "document"],
  ["sticker", "sticker"],
  ["location", "location"],
  ["live_location", "live_location"],
  ["contact", "contact"],
  ["contacts_array", "contact"],
  ["order", "order"],
  ["list", "list"],
  ["interactive", "interactive"],
  ["interactive_media", "interactive"]
])

/** Content fields that are files. */
const fileTypes = new Set(["image", "video", "video_note", "audio", "document", "sticker"])

const ackStatuses = new Map<string, AckStatus>([
  ["pending", "pending"],
  ["sent", "sent"],
  ["delivered", "delivered"],
  ["read", "read"],
  ["read-self", "read"],
  ["played", "played"],
  ["failed", "failed"],
  ["error", "failed"]
])

/** Fields that have their own place, or only repeat another (a description of the receipt type). */
const messageFields = new Set(["id", "chat_id", "from", "is_from_me", "body"])
const actionFields = new Set([
  "id",
  "chat_id",
  "from",
  "is_from_me",
  "body",
  "reaction",
  "reacted_message_id",
  "original_message_id",
  "revoked_message_id"
])
const ackFields = new Set(["ids", "chat_id", "from", "receipt_type", "receipt_type_description"])

/** The session events of one event. `envelope` is read from `frame.text`. */
export const readEvent = (frame: Frame, envelope: Envelope): ReadonlyArray<SessionEvent> => {
  const { payload } = envelope
  if (isTooDeep(frame.text, payload)) {
    return [rejected(frame, "unreadable", `the frame is nested deeper than ${depthMax} levels`)]
  }
  const { makeId, now, origin, target, text } = frame
  // Written out: spreading costs a tenth of a decode.
  const read: ReadFrame = { text, target, now, makeId, origin, payload, exact: null }
  switch (envelope.event) {
    case "message":
      return readMessage(read, envelope, payload)
    case "message.ack":
      return readAck(read, envelope, payload)
    case "message.reaction":
    case "message.edited":
    case "message.revoked":
      return readAction(read, envelope, payload, envelope.event)
    default:
      return [readOther(read, envelope)]
  }
}

const readMessage = (frame: ReadFrame, envelope: Envelope, payload: Payload): ReadonlyArray<SessionEvent> => {
  const message = decodeMessage(payload)
  if (message === null) return [unreadable(frame, envelope)]
  const fromMe = message.is_from_me === true
  const place = findPlace(message, fromMe, frame.target.jid)
  if (place === null) return [unreadable(frame, envelope)]
  const { chat, sender } = place
  const body = message.body ?? null
  const occurredAt = findOccurredAt(envelope, payload)
  let type = body === null ? "unknown" : "text"
  let media: MediaData | undefined
  let extra: Extra | undefined
  for (const key in payload) {
    if (messageFields.has(key) || (key === "timestamp" && occurredAt !== null)) continue
    const content = contentTypes.get(key)
    if (content !== undefined && payload[key] !== null) {
      type = content
      if (fileTypes.has(content)) media = readMedia(content, payload[key])
    }
    extra = keep(extra, key, exactly(frame, key))
  }
  const waId = message.id
  const data = {
    messageId: deriveMessageId(frame.target.deviceId, { fromMe, chat, sender, waId }),
    waId,
    chat,
    sender,
    fromMe,
    type,
    body,
    ...(media === undefined ? undefined : { media }),
    ...(extra === undefined ? undefined : { extra })
  }
  const identity = { chat, sender, fromMe, waId, rank: "" }
  const kind = fromMe ? "message.sent" : "message.received"
  return [record({
    id: frame.makeId(frame.now),
    kind,
    deviceId: frame.target.deviceId,
    occurredAt: formatTime(frame, occurredAt),
    via: frame.origin.via,
    data,
    identity,
    aliases: listAliases(message)
  })]
}

/** The path of the file, or an object with it, with the object's further facts about the file. */
const readMedia = (kind: string, value: Schema.Json | undefined): MediaData => {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return { kind }
  const { caption, filename } = value as Payload
  return {
    kind,
    ...(typeof filename === "string" && filename !== "" ? { fileName: filename } : undefined),
    ...(typeof caption === "string" && caption !== "" ? { caption } : undefined)
  }
}

const readAction = (
  frame: ReadFrame,
  envelope: Envelope,
  payload: Payload,
  kind: "message.reaction" | "message.edited" | "message.revoked"
): ReadonlyArray<SessionEvent> => {
  const action = decodeAction(payload)
  if (action === null) return [unreadable(frame, envelope)]
  const targetWaId = kind === "message.reaction"
    ? action.reacted_message_id
    : kind === "message.edited"
    ? action.original_message_id
    : action.revoked_message_id
  const fromMe = action.is_from_me === true
  const place = findPlace(action, fromMe, frame.target.jid)
  if (place === null || typeof targetWaId !== "string" || targetWaId === "") return [unreadable(frame, envelope)]
  const { chat, sender } = place
  const body = kind === "message.reaction"
    ? action.reaction ?? ""
    : kind === "message.edited"
    ? action.body ?? null
    : null
  const occurredAt = findOccurredAt(envelope, payload)
  const extra = collectExtra(frame, actionFields, occurredAt !== null)
  const data: MessageActionData = {
    waId: action.id,
    targetWaId,
    chat,
    sender,
    fromMe,
    body,
    ...(extra === undefined ? undefined : { extra })
  }
  // Live too: an event received on a socket comes again from the history after every gap.
  const identity = kind === "message.reaction" && occurredAt !== null
    ? identifyReaction({ chat, sender }, fromMe, targetWaId, body ?? "", occurredAt)
    : { chat, sender, fromMe, waId: action.id, rank: "" }
  return [record({
    id: frame.makeId(frame.now),
    kind,
    deviceId: frame.target.deviceId,
    occurredAt: formatTime(frame, occurredAt),
    via: frame.origin.via,
    data,
    identity,
    aliases: listAliases(action)
  })]
}

/** Maximum size of all repetitions of addresses in the events of one ack: 1 MiB, the size of a frame. */
const ackSpreadMax = 1024 * 1024

/**
 * One event per id. Additional fields of the frame are kept only in the first event: repeated in each, one frame
 * of a megabyte would become gigabytes.
 *
 * Where the account itself has read somebody's message, the target is not one of our messages: the event has no
 * `messageId`, and an identity that differs from acks of our own messages.
 */
const readAck = (frame: ReadFrame, envelope: Envelope, payload: Payload): ReadonlyArray<SessionEvent> => {
  const ack = decodeAck(payload)
  if (ack === null) return [unreadable(frame, envelope)]
  const status = ackStatuses.get(ack.receipt_type)
  if (status === undefined) return [readOther(frame, envelope)]
  if (ack.ids.length === 0) return [unreadable(frame, envelope)]
  if (ack.ids.length > ackIdsMax) {
    return [rejected(frame, "too-large", `an ack of ${ack.ids.length} messages; at most ${ackIdsMax} are taken`)]
  }
  const participant = ack.from ? canonical(ack.from) : null
  const chat = ack.chat_id ? canonical(ack.chat_id) : participant ?? ""
  const own = ack.receipt_type === "read-self" ||
    (participant !== null && frame.target.jid !== null && participant === canonical(frame.target.jid))
  const occurredAt = findOccurredAt(envelope, payload)
  if (ack.ids.length * (chat.length + (participant?.length ?? 0)) > ackSpreadMax) {
    return [rejected(frame, "too-large", "an ack that names many messages with very long addresses")]
  }
  const extra = collectExtra(frame, ackFields, occurredAt !== null)
  const aliases = listAliases(ack)
  return ack.ids.map((waId, index) => {
    const messageId = own ? null : deriveMessageId(frame.target.deviceId, { fromMe: true, chat, sender: "", waId })
    const data = { messageId, waId, chat, participant, status, ...(index === 0 && extra ? { extra } : undefined) }
    const identity = { chat, sender: participant ?? "", fromMe: !own, waId, rank: status }
    return record({
      id: frame.makeId(frame.now),
      kind: "message.ack",
      deviceId: frame.target.deviceId,
      occurredAt: formatTime(frame, occurredAt),
      via: frame.origin.via,
      data,
      identity,
      aliases: index === 0 ? aliases : noAliases
    })
  })
}

const readOther = (frame: ReadFrame, envelope: Envelope): SessionEvent =>
  record({
    id: frame.makeId(frame.now),
    kind: gatewayKind(envelope.event),
    deviceId: frame.target.deviceId,
    occurredAt: formatTime(frame, findOccurredAt(envelope, frame.payload)),
    via: frame.origin.via,
    data: exactPayload(frame),
    identity: identifyOther(frame, envelope),
    aliases: noAliases
  })

const identifyOther = (frame: ReadFrame, envelope: Envelope): EventIdentity | null => {
  // Live too: a call received on a socket comes again from the history after every gap.
  const call = envelope.event === "call.offer" ? frame.payload.call_id : undefined
  return typeof call === "string" && call !== "" ? identifyCall(call) : frame.origin.identity
}

/** A history names a call only by its id. */
export const identifyCall = (callId: string): EventIdentity => ({
  chat: "",
  sender: "",
  fromMe: false,
  waId: `call:${callId}`,
  rank: ""
})

/** Routing keys hold 255 bytes, including a device id. */
const gatewayNameMax = 128

/** The gateway's own event name, in the alphabet of our kinds. */
export const gatewayKind = (name: string): `gateway.${string}` => {
  const segments = name.slice(0, gatewayNameMax).split(".")
  const kept = segments.length <= 8 ? segments : [...segments.slice(0, 7), segments.slice(7).join("_")]
  return `gateway.${kept.map((segment) => segment.replace(/[^a-zA-Z0-9_-]/g, "_").slice(0, 64) || "_").join(".")}`
}

const findOccurredAt = (envelope: Envelope, payload: Payload): string | null =>
  readTimestamp(payload.timestamp) ?? readTimestamp(envelope.timestamp)

const collectExtra = (frame: ReadFrame, known: ReadonlySet<string>, timestampUsed: boolean): Extra | undefined => {
  let extra: Extra | undefined
  for (const key in frame.payload) {
    if (known.has(key) || (key === "timestamp" && timestampUsed)) continue
    extra = keep(extra, key, exactly(frame, key))
  }
  return extra
}

const exactPayload = (frame: ReadFrame): Payload =>
  frame.exact ??= mayLoseNumbers(frame.text)
    ? readEnvelope(parseExact(frame.text))?.payload ?? frame.payload
    : frame.payload

/** A field as the log keeps it. Texts and flags, which are most fields, cost nothing here. */
const exactly = (frame: ReadFrame, key: string): Schema.Json | undefined => {
  const value = frame.payload[key]
  return typeof value === "number" || typeof value === "object" ? exactPayload(frame)[key] : value
}

/** `__proto__` is dropped: assigning it would change the object instead of filling it. */
const keep = (extra: Extra | undefined, key: string, value: Schema.Json | undefined): Extra | undefined => {
  if (key === "__proto__" || value === undefined) return extra
  const kept = extra ?? {}
  kept[key] = value
  return kept
}

const unreadable = (frame: Frame, envelope: Envelope): SessionEvent =>
  rejected(
    frame,
    "unreadable",
    `the payload lacks what makes a ${gatewayKind(envelope.event).slice("gateway.".length)}`
  )

export const rejected = (frame: Frame, reason: RejectedData["reason"], detail: string): SessionEvent =>
  rejectText(frame.text, frame.target, frame.now, reason, detail, frame.makeId, frame.origin)

/** Drafts are literals, all with the fields in this order: spreading parts into one costs a tenth of a decode. */
const record = (draft: EventDraft): SessionEvent => ({ _tag: "Record", draft })

const formatTime = (frame: Frame, occurredAt: string | null): string => occurredAt ?? new Date(frame.now).toISOString()
