/** Sending through WAHA: the message object in the engine's form, its echo as an event, and its acks. */
import type { Payload } from "../Dialect.ts"
import { json, type Reply } from "../http.ts"
import type { SentFile } from "../Ledger.ts"
import { makeWaId, withSendFaults } from "../sendFaults.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import { describeMedia } from "../sentFiles.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"
import { messageObject, type Speaker } from "./events.ts"

interface Sent {
  readonly content: Payload
  readonly text: string
  readonly file?: SentFile
}

/** The field of GOWA's form with the same rules. */
const mediaFields: ReadonlyMap<string, string> = new Map([
  ["sendImage", "image"],
  ["sendFile", "file"],
  ["sendVoice", "audio"],
  ["sendVideo", "video"]
])

const readMedia = (field: string, body: Payload): Sent | null => {
  const file = asObject(body.file)
  const data = file === null ? null : textOf(file.data)
  if (file === null || data === null || !/^[A-Za-z0-9+/]+={0,2}$/.test(data)) return null
  const given = {
    name: textOf(file.filename) ?? "",
    type: textOf(file.mimetype) ?? "",
    bytes: Buffer.from(data, "base64")
  }
  return describeMedia(field, given, textOf(body.caption) ?? "")
}

const textOf = (value: unknown): string | null => typeof value === "string" && value !== "" ? value : null

const asObject = (value: unknown): Payload | null =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? value as Payload : null

/** Decodes the body for this path; null where it lacks a required field. */
const read = (path: string, body: Payload): Sent | null => {
  switch (path) {
    case "sendText": {
      const text = textOf(body.text)
      return text === null ? null : { content: { body: text }, text }
    }
    case "sendLocation": {
      const { latitude, longitude, title } = body
      return typeof latitude !== "number" || typeof longitude !== "number" ? null : {
        content: { location: { degreesLatitude: latitude, degreesLongitude: longitude, name: title } },
        text: `${latitude},${longitude}`
      }
    }
    case "sendContactVcard": {
      const contact = Array.isArray(body.contacts) ? asObject(body.contacts[0]) : null
      const name = contact === null ? null : textOf(contact.fullName)
      return name === null ? null : { content: { contact: { displayName: name, vcard: "BEGIN:VCARD" } }, text: name }
    }
    case "sendPoll": {
      const name = textOf(asObject(body.poll)?.name)
      return name === null ? null : { content: { body: name }, text: name }
    }
    default: {
      const field = mediaFields.get(path)
      return field === undefined ? null : readMedia(field, body)
    }
  }
}

export const sendPaths: ReadonlySet<string> = new Set([
  "sendText",
  "sendLocation",
  "sendContactVcard",
  "sendPoll",
  ...mediaFields.keys()
])

const badRequest = (message: string): Reply => json(400, { message: [message], error: "Bad Request", statusCode: 400 })

/** For a working session. */
export const wahaSend = (
  core: SimulatorCore,
  device: SimulatedDevice,
  speaker: Speaker,
  engine: string,
  path: string,
  body: unknown
): Reply => {
  const fields = asObject(body) ?? {}
  const chatId = textOf(fields.chatId)
  const asked = read(path, fields)
  if (chatId === null || !chatId.includes("@")) return badRequest("chatId must be a string")
  if (asked === null) return badRequest("the content is missing")
  return withSendFaults(core, device, () => {
    const chat = chatId.replace(/@c\.us$/, "@s.whatsapp.net")
    const timestamp = `${new Date(core.now()).toISOString().slice(0, 19)}Z`
    const id = makeWaId()
    const payload: Payload = {
      id,
      timestamp,
      is_from_me: true,
      chat_id: chat,
      from: device.jid ?? "",
      ...asked.content
    }
    core.emitter.emit(device, "message", payload, {
      chat,
      text: asked.text,
      ...(asked.file === undefined ? undefined : { file: asked.file })
    })
    for (const receipt_type of ["sent", "delivered"]) {
      core.emitter.emit(device, "message.ack", { ids: [id], chat_id: chat, from: chat, receipt_type, timestamp })
    }
    const object = messageObject(payload, speaker, { live: false, withMedia: false, ack: 1 })
    // Older engines answer with objects of their own.
    if (engine === "WEBJS") {
      return json(201, { ...object, id: { fromMe: true, remote: chatId, _serialized: object.id } })
    }
    return engine === "NOWEB"
      ? json(201, { key: { remoteJid: chat, fromMe: true, id }, status: "PENDING" })
      : json(201, object)
  })
}
