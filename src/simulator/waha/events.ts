/**
 * Events of a scenario in WAHA's form: the envelope, message objects with their composed ids, `@c.us` addresses and
 * hidden ids, numeric acks, seconds with fractions.
 */
import type { Payload } from "../Dialect.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"

/** One event in its envelope, before it is encoded. */
export interface WahaEvent {
  readonly event: string
  readonly payload: Payload
}

/** The context of one session's payloads. */
export interface Speaker {
  readonly session: string
  /** The account in the core's spelling; null without one. */
  readonly account: string | null
  /** The base URL of message files as the server believes: a name that only its own network resolves. */
  readonly filesUrl: string
  /** Whether some messages are addressed by hidden ids. */
  readonly hiddenIds: boolean
}

export const ackNumbers = new Map([["failed", -1], ["pending", 0], ["sent", 1], ["delivered", 2], ["read", 3], [
  "read-self",
  3
], ["played", 4]])
const ackNames = new Map([[-1, "ERROR"], [0, "PENDING"], [1, "SERVER"], [2, "DEVICE"], [3, "READ"], [4, "PLAYED"]])

export const nameAck = (ack: number): string => ackNames.get(ack) ?? "UNKNOWN"

/** `628…@s.whatsapp.net` is `628…@c.us` here. */
export const wahaAddress = (jid: string): string => jid.replace(/(:\d+)?@s\.whatsapp\.net$/, "@c.us")

export const formatAccount = (device: SimulatedDevice) =>
  device.jid === null ? null : { id: wahaAddress(device.jid), pushName: device.name }

/** A number from an id, for variations between engines; the same id always varies in the same way. */
export const vary = (id: string, ways: number): number => {
  let sum = 0
  for (const character of id) sum += character.charCodeAt(0)
  return sum % ways
}

const text = (value: unknown): string => typeof value === "string" ? value : ""

interface Addresses {
  readonly chat: string
  readonly author: string
}

/** Every third message of a user with a known hidden id is addressed by it. */
const spell = (payload: Payload, id: string): Addresses => {
  const hidden = vary(id, 3) === 0
  const chat = text(payload.chat_id)
  const from = text(payload.from) || chat
  const lid = text(payload.from_lid)
  const author = hidden && lid !== "" ? lid : from
  return { chat: wahaAddress(chat === from ? author : chat), author: wahaAddress(author) }
}

const toSeconds = (timestamp: unknown): number => Math.floor(Date.parse(text(timestamp)) / 1000)

/** `{true|false}_{chat}_{raw}[_{participant}]` */
export const composeId = (fromMe: boolean, chat: string, raw: string, participant: string | null): string =>
  `${String(fromMe)}_${chat}_${raw}${participant === null ? "" : `_${participant}`}`

const files = new Map([
  ["image", { mimetype: "image/jpeg", extension: "jpeg" }],
  ["video", { mimetype: "video/mp4", extension: "mp4" }],
  ["video_note", { mimetype: "video/mp4", extension: "mp4" }],
  ["audio", { mimetype: "audio/ogg; codecs=opus", extension: "oga" }],
  ["document", { mimetype: "application/pdf", extension: "pdf" }],
  ["sticker", { mimetype: "image/webp", extension: "webp" }]
])

/** The file of a message, or null. */
export const readFile = (payload: Payload): { readonly mimetype: string; readonly extension: string } | null => {
  for (const [kind, file] of files) if (kind in payload) return file
  return null
}

export const fileName = (raw: string, extension: string): string => `${raw}.${extension}`

/** The form of a requested message object. */
export interface MessageForm {
  /** Hidden ids and fractions of seconds are for live events; a history has phone addresses and whole seconds. */
  readonly live: boolean
  readonly withMedia: boolean
  readonly ack: number
}

export const messageObject = (payload: Payload, speaker: Speaker, form: MessageForm): Payload => {
  const raw = text(payload.id)
  const fromMe = payload.is_from_me === true
  const { author, chat } = form.live && speaker.hiddenIds ? spell(payload, raw) : {
    chat: wahaAddress(text(payload.chat_id)),
    author: wahaAddress(text(payload.from) || text(payload.chat_id))
  }
  const account = wahaAddress(speaker.account ?? "")
  const isGroup = chat.endsWith("@g.us")
  const participant = isGroup ? (fromMe ? account : author) : null
  const file = readFile(payload)
  const location = payload.location as Readonly<Record<string, unknown>> | undefined
  const contact = payload.contact as Readonly<Record<string, unknown>> | undefined
  return {
    id: composeId(fromMe, chat, raw, participant),
    timestamp: toSeconds(payload.timestamp) + (form.live ? vary(raw, 4) / 4 : 0),
    // Engines differ in the field of the account in an own message.
    from: fromMe ? (vary(raw, 2) === 0 ? account : chat) : chat,
    to: fromMe ? chat : account,
    fromMe,
    ...(participant === null ? undefined : { participant }),
    body: text(payload.body),
    hasMedia: file !== null,
    media: file === null || !form.withMedia ? null : {
      url: `${speaker.filesUrl}/${speaker.session}/${fileName(raw, file.extension)}`,
      mimetype: file.mimetype,
      filename: file.extension === "pdf" ? "Invoice.pdf" : null,
      error: null
    },
    ack: form.ack,
    ackName: nameAck(form.ack),
    vCards: contact === undefined ? [] : [contact.vcard],
    location: location === undefined ? null : {
      description: location.name,
      latitude: location.degreesLatitude,
      longitude: location.degreesLongitude
    },
    replyTo: null,
    source: "app",
    _data: { key: { remoteJid: text(payload.chat_id), id: raw }, pushName: text(payload.from_name) }
  }
}

/** The events of one scenario event, in the server's order. */
export const toWaha = (event: string, payload: Payload, speaker: Speaker): ReadonlyArray<WahaEvent> => {
  const form = { live: true, withMedia: true, ack: payload.is_from_me === true ? 1 : 2 }
  switch (event) {
    case "message": {
      const message = messageObject(payload, speaker, form)
      const any = { event: "message.any", payload: message }
      return payload.is_from_me === true ? [any] : [{ event: "message", payload: message }, any]
    }
    case "message.ack":
      return acks(payload, speaker)
    case "message.reaction": {
      const message = messageObject({ ...payload, body: "" }, speaker, form)
      return [{ event, payload: { ...message, reaction: formatReaction(payload, message) } }]
    }
    case "message.edited": {
      const message = messageObject(payload, speaker, form)
      return [{ event, payload: { ...message, editedMessageId: payload.original_message_id } }]
    }
    case "message.revoked":
      return [{ event, payload: revocation(payload, speaker) }]
    case "chat_presence":
      return [{
        event: "presence.update",
        payload: {
          id: wahaAddress(text(payload.chat_id)),
          presences: [{
            participant: wahaAddress(text(payload.from)),
            lastKnownPresence: payload.state === "composing" ? "typing" : "paused",
            lastSeen: null
          }]
        }
      }]
    default:
      return [{ event, payload }]
  }
}

const formatReaction = (payload: Payload, message: Payload) => {
  const [direction, chat, , participant = null] = text(message.id).split("_")
  return {
    text: payload.reaction,
    messageId: composeId(direction === "true", chat ?? "", text(payload.reacted_message_id), participant)
  }
}

/** One event per message. In a group each acknowledgement names its sender. */
const acks = (payload: Payload, { account }: Speaker): ReadonlyArray<WahaEvent> => {
  const ids = Array.isArray(payload.ids) ? payload.ids as ReadonlyArray<string> : []
  const ack = ackNumbers.get(text(payload.receipt_type)) ?? 0
  const own = payload.from === account || payload.receipt_type === "read-self"
  const chat = wahaAddress(text(payload.chat_id))
  const me = wahaAddress(account ?? "")
  const isGroup = chat.endsWith("@g.us")
  return ids.map((raw) => ({
    event: isGroup ? "message.ack.group" : "message.ack",
    payload: {
      id: composeId(!own, chat, raw, isGroup ? me : null),
      from: chat,
      to: me,
      ...(isGroup ? { participant: wahaAddress(text(payload.from)) } : undefined),
      fromMe: !own,
      ack,
      ackName: nameAck(ack)
    }
  }))
}

/** Not every engine includes the message before and after. */
const revocation = (payload: Payload, speaker: Speaker): Payload => {
  const raw = text(payload.revoked_message_id)
  if (vary(raw, 4) === 0) return { revokedMessageId: raw, after: null, before: null }
  const message = messageObject({ ...payload, id: raw, body: "" }, speaker, { live: true, withMedia: false, ack: 1 })
  return { revokedMessageId: raw, after: message, before: null }
}

/** Data that is not an event of the dialect. */
export const junk: ReadonlyArray<string> = [
  "hello?",
  "{\"event\":\"message.any\"",
  "[1,2,3]",
  "null",
  "{\"event\":\"message.any\",\"session\":\"sim-1\"}",
  "{\"event\":\"message\",\"device_id\":\"sim-1\",\"payload\":{}}"
]
