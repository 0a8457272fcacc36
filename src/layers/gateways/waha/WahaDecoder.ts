/**
 * Decodes events and history rows of the `waha` dialect. Total: any text gives session events, and an unreadable
 * one gives one `frame.rejected` that keeps the text. Socket frames and webhooks have one envelope, and a history row is
 * the payload of a message event, so all three ways give drafts with the same identities.
 *
 * Not decided here: which socket the text came from, who signed it, and how a repeat is handled (the log).
 */
import type { Schema } from "effect"
import type { Alias, EventDraft, EventIdentity } from "../../../domain/Event.ts"
import type { MediaData, MessageActionData } from "../../../domain/EventData.ts"
import { canonical } from "../../../domain/Jid.ts"
import type { AckStatus } from "../../../domain/Message.ts"
import { deriveMessageId, makeEventId } from "../../../services/EventIdentity.ts"
import type { SessionEvent, SessionTarget } from "../../../services/GatewayParts.ts"
import { depthMax } from "../../../domain/nesting.ts"
import { isTooDeep } from "../depth.ts"
import { type Frame, gatewayKind, rejected } from "../eventDecoder.ts"
import { mayLoseNumbers, parseExact } from "../exactNumbers.ts"
import { liveOrigin, type MakeEventId, repeatableOrigin } from "../rejects.ts"
import { readTimestamp } from "../timestamps.ts"
import { type FindLids, type FindPhone, locate, type MessagePlace, pickSpelling, type Source } from "./messagePlace.ts"
import {
  asPayload,
  type Envelope,
  type Payload,
  readAckStatus,
  readEnvelope,
  readMessageRef,
  readSeconds,
  textIn
} from "./payloads.ts"

/** The context in which a text is decoded. */
export interface Reading {
  readonly target: SessionTarget
  readonly now: number
  readonly findPhone: FindPhone
  /** Hidden ids under which the log may already have a phone address. */
  readonly findLids?: FindLids | undefined
  readonly makeId?: MakeEventId | undefined
}

/** The session events of one socket frame. */
export const decodeFrame = (text: string, reading: Reading): ReadonlyArray<SessionEvent> => {
  const frame = makeFrame(text, reading, liveOrigin)
  const envelope = parseEnvelope(text)
  return typeof envelope === "string"
    ? [rejected(frame, envelope, notAnEvent)]
    : decodeEvent(frame, envelope, reading.findPhone)
}

/** The session events of the body of a webhook. The same body comes again until it is acknowledged. */
export const decodeBody = (
  text: string,
  envelope: ReturnType<typeof parseEnvelope>,
  reading: Reading
): ReadonlyArray<SessionEvent> => {
  const frame = makeFrame(text, reading, repeatableOrigin("webhook", text))
  return typeof envelope === "string"
    ? [rejected(frame, envelope, notAnEvent)]
    : decodeEvent(frame, envelope, reading.findPhone)
}

const notAnEvent = "the text is not an object with event, session and payload"

const makeFrame = (text: string, { makeId = makeEventId, now, target }: Reading, origin: Frame["origin"]): Frame => ({
  text,
  target,
  now,
  makeId,
  origin
})

/** The envelope of a text, or why it has none. */
export const parseEnvelope = (text: string): Envelope | "not-json" | "not-an-event" => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return "not-json"
  }
  return readEnvelope(json) ?? "not-an-event"
}

const decodeEvent = (frame: Frame, envelope: Envelope, findPhone: FindPhone): ReadonlyArray<SessionEvent> => {
  const { target, text } = frame
  const { payload } = envelope
  if (envelope.session !== target.upstreamId) {
    return [rejected(frame, "wrong-device", "the event names a session that the device does not have")]
  }
  if (isTooDeep(text, payload)) {
    return [rejected(frame, "unreadable", `the event is nested deeper than ${depthMax} levels`)]
  }
  const account = envelope.me?.id ?? target.jid
  const source: Source = {
    ...frame,
    findPhone,
    payload,
    exact: mayLoseNumbers(text) ? readEnvelope(parseExact(text))?.payload ?? payload : payload,
    account: account === null ? null : canonical(account),
    accountLid: envelope.me?.lid ? canonical(envelope.me.lid) : null,
    claimed: readTimestamp(readSeconds(payload.timestamp)) ?? readTimestamp(envelope.timestamp)
  }
  return readEvent(source, envelope) ??
    [rejected(frame, "unreadable", `the payload lacks what makes a ${formatName(envelope)}`)]
}

/**
 * The events of a message object from the history. An unreadable row has an identity too: it is found again by
 * every read of the history.
 */
export const decodeRow = (row: unknown, reading: Reading): ReadonlyArray<SessionEvent> => {
  const text = JSON.stringify(row)
  const frame = makeFrame(text, reading, repeatableOrigin("backfill", text))
  const payload = asPayload(row)
  if (payload === null) return [rejected(frame, "not-an-event", "the history row is no object")]
  if (isTooDeep(text, payload)) {
    return [rejected(frame, "unreadable", `the history row is nested deeper than ${depthMax} levels`)]
  }
  const { jid } = reading.target
  const source: Source = {
    ...frame,
    findPhone: reading.findPhone,
    findLids: reading.findLids,
    payload,
    exact: payload,
    account: jid === null ? null : canonical(jid),
    accountLid: null,
    claimed: readTimestamp(readSeconds(payload.timestamp))
  }
  return readMessage(source) ?? [rejected(frame, "unreadable", "the history row lacks what makes a message")]
}

/** Null where the payload lacks the fields that the event needs. */
const readEvent = (source: Source, envelope: Envelope): ReadonlyArray<SessionEvent> | null => {
  switch (envelope.event) {
    case "message":
    case "message.any":
      return readMessage(source)
    case "message.ack":
    case "message.ack.group":
      return readAck(source, envelope)
    case "message.reaction":
      return readAction(source, "message.reaction", asPayload(source.payload.reaction)?.messageId)
    case "message.edited":
      return readAction(source, "message.edited", source.payload.editedMessageId)
    case "message.revoked":
      return readRevocation(source)
    case "session.status":
      return readStatus(source, envelope)
    default:
      return [readOther(source, envelope)]
  }
}

/** Maximum length of a quoted status. */
const statusMax = 64

/** The account's state by the status of a session. Only the gateway's own answer about the session is proof. */
const readStatus = ({ payload }: Source, { me }: Envelope): ReadonlyArray<SessionEvent> => {
  const status = textIn(payload, "status")
  switch (status) {
    case "WORKING":
      return [{ _tag: "UpstreamConnected", jid: me === null ? null : canonical(me.id) }]
    case "SCAN_QR_CODE":
      return [{ _tag: "LoginNeeded", method: "qr", expiresAt: null }]
    case "PASSKEY_REQUIRED":
    case "PASSKEY_CONFIRMATION_REQUIRED":
      return [{ _tag: "LoginNeeded", method: "passkey", expiresAt: null }]
    default:
      // `STARTING`, `STOPPED`, `FAILED`, and what later versions may add.
      return [{ _tag: "UpstreamDisconnected", reason: `the session is ${(status ?? "?").slice(0, statusMax)}` }]
  }
}

const messageFields = new Set(["id", "from", "to", "fromMe", "participant", "body"])

const readMessage = (source: Source): ReadonlyArray<SessionEvent> | null => {
  const { payload, target } = source
  const ref = readMessageRef(payload.id)
  const place = ref === null ? null : locate(source, payload, ref)
  if (place === null) return null
  const { aliases, chat, fromMe, sender, waId } = place
  const body = textIn(payload, "body")
  const media = readMedia(payload, body)
  const messageId = deriveMessageId(target.deviceId, { fromMe, chat, sender, waId })
  const message = record({
    ...makeFields(source, { chat, sender, fromMe, waId, rank: "" }, aliases),
    kind: fromMe ? "message.sent" : "message.received",
    data: {
      messageId,
      waId,
      chat,
      sender,
      fromMe,
      type: findType(payload, media, body),
      body,
      ...(media === null ? undefined : { media }),
      ...keepOthers(source, messageFields)
    }
  })
  const status = fromMe ? readAckStatus(payload) : null
  return status === null || status === "pending"
    ? [message]
    : [message, recordAck(source, place, chat.endsWith("@g.us") ? null : chat, status)]
}

/** The delivery status of a message object, as the ack that would have reported it. Its time is that of the message. */
const recordAck = (
  source: Source,
  { aliases, chat, fromMe, waId }: MessagePlace,
  participant: string | null,
  status: AckStatus,
  extra: { readonly extra?: Extra } = {}
): SessionEvent =>
  record({
    ...makeFields(source, { chat, sender: participant ?? "", fromMe, waId, rank: status }, aliases),
    kind: "message.ack",
    data: {
      // For somebody else's message, the account's own reading is acknowledged: it is no message of ours.
      messageId: fromMe ? deriveMessageId(source.target.deviceId, { fromMe, chat, sender: "", waId }) : null,
      waId,
      chat,
      participant,
      status,
      ...extra
    }
  })

const ackFields = new Set(["id", "from", "to", "fromMe", "participant", "ack", "ackName"])

const readAck = (source: Source, envelope: Envelope): ReadonlyArray<SessionEvent> | null => {
  const { account, payload } = source
  const ref = readMessageRef(payload.id)
  const place = ref === null ? null : locate(source, payload, ref, true)
  if (place === null) return null
  const status = readAckStatus(payload)
  if (status === null) return [readOther(source, envelope)]
  const named = pickSpelling(source, [textIn(payload, "participant")], new Map())
  // In a direct chat the peer acknowledges our message, and we theirs. In a group the gateway names the participant, or the
  // author of the message, which is no acknowledgement.
  const participant = !place.chat.endsWith("@g.us")
    ? place.fromMe ? place.chat : account
    : named === account
    ? null
    : named
  return [recordAck(source, place, participant, status, keepOthers(source, ackFields))]
}

const actionFields = new Set(["id", "from", "to", "fromMe", "participant", "body", "reaction", "editedMessageId"])

const readAction = (
  source: Source,
  kind: "message.reaction" | "message.edited",
  targetId: unknown
): ReadonlyArray<SessionEvent> | null => {
  const { payload } = source
  const ref = readMessageRef(payload.id)
  const target = readMessageRef(targetId)
  const place = ref === null ? null : locate(source, payload, ref)
  if (place === null || target === null) return null
  const { aliases, chat, fromMe, sender, waId } = place
  const emoji = asPayload(payload.reaction)?.text
  const data: MessageActionData = {
    waId,
    targetWaId: target.waId,
    chat,
    sender,
    fromMe,
    body: kind === "message.reaction" ? typeof emoji === "string" ? emoji : "" : textIn(payload, "body"),
    ...keepOthers(source, actionFields)
  }
  return [record({ ...makeFields(source, { chat, sender, fromMe, waId, rank: "" }, aliases), kind, data })]
}

const revocationFields = new Set(["revokedMessageId"])

/**
 * A revocation has no id of its own: its target identifies it. The chat is in the message before or after, which not
 * every engine includes; without either the event has no chat.
 */
const readRevocation = (source: Source): ReadonlyArray<SessionEvent> | null => {
  const { payload } = source
  const revoked = readMessageRef(payload.revokedMessageId)
  if (revoked === null) return null
  const message = asPayload(payload.before) ?? asPayload(payload.after) ?? {}
  const ref = readMessageRef(message.id) ?? revoked
  const place = locate(source, message, { ...ref, waId: revoked.waId })
  const chat = place?.chat ?? ""
  const sender = place?.sender ?? ""
  const fromMe = place?.fromMe ?? false
  const { waId } = revoked
  const data: MessageActionData = {
    waId,
    targetWaId: waId,
    chat,
    sender,
    fromMe,
    body: null,
    ...keepOthers(source, revocationFields)
  }
  const identity = { chat, sender, fromMe, waId, rank: "" }
  return [record({ ...makeFields(source, identity, place?.aliases ?? []), kind: "message.revoked", data })]
}

/** Any other event keeps its payload. Its id is its identity: WAHA uses one id for one event on every way. */
const readOther = (source: Source, envelope: Envelope): SessionEvent =>
  record({
    ...makeFields(
      source,
      envelope.id === null
        ? source.origin.identity
        : { chat: "", sender: "", fromMe: false, waId: envelope.id, rank: "" },
      []
    ),
    kind: gatewayKind(envelope.event),
    data: source.exact
  })

/** Our name of a file's type; the remaining MIME types are documents. */
const kindByMime = new Map([["image", "image"], ["video", "video"], ["audio", "audio"]])

const readMedia = (payload: Payload, caption: string | null): MediaData | null => {
  const media = asPayload(payload.media)
  if (payload.hasMedia !== true && media === null) return null
  const mimeType = media === null ? null : textIn(media, "mimetype")
  const fileName = media === null ? null : textIn(media, "filename")
  const size = media?.filesize ?? media?.size
  const type = mimeType?.split(/[/;]/)
  return {
    // WhatsApp has no WebP pictures: WebP files are stickers.
    kind: type === undefined
      ? "unknown"
      : type[1] === "webp"
      ? "sticker"
      : kindByMime.get(type[0] ?? "") ?? "document",
    ...(mimeType === null ? undefined : { mimeType }),
    ...(typeof size === "number" && Number.isSafeInteger(size) && size >= 0 ? { size } : undefined),
    ...(fileName === null ? undefined : { fileName }),
    ...(caption === null ? undefined : { caption })
  }
}

const findType = (payload: Payload, media: MediaData | null, body: string | null): string => {
  if (asPayload(payload.location) !== null) return "location"
  if (Array.isArray(payload.vCards) && payload.vCards.length > 0) return "contact"
  return media?.kind ?? (body === null ? "unknown" : "text")
}

type Extra = Record<string, Schema.Json>

/** `__proto__` is dropped: assigning it would change the object instead of filling it. */
const keepOthers = ({ claimed, exact }: Source, known: ReadonlySet<string>): { readonly extra?: Extra } => {
  let extra: Extra | undefined
  for (const key of Object.keys(exact)) {
    const value = exact[key]
    if (known.has(key) || key === "__proto__" || value === undefined || value === null) continue
    if (key === "timestamp" && claimed !== null) continue
    extra ??= {}
    extra[key] = value
  }
  return extra === undefined ? {} : { extra }
}

const makeFields = (source: Source, identity: EventIdentity | null, aliases: ReadonlyArray<Alias>) => ({
  id: source.makeId(source.now),
  deviceId: source.target.deviceId,
  occurredAt: source.claimed ?? new Date(source.now).toISOString(),
  via: source.origin.via,
  identity,
  aliases
})

const record = (draft: EventDraft): SessionEvent => ({ _tag: "Record", draft })

const formatName = ({ event }: Envelope): string => gatewayKind(event).slice("gateway.".length)
