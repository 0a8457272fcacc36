/**
 * Sending like GOWA, and `bridge` servers that have its paths: the order of its checks, and the receipt that may come
 * before the answer. A sent message is in the ledger and in the history, and is not announced.
 */
import type { Payload } from "./Dialect.ts"
import { envelope, internalError, success } from "./envelope.ts"
import type { FormFile, Reply } from "./http.ts"
import type { SentFile } from "./Ledger.ts"
import { makeWaId, withSendFaults } from "./sendFaults.ts"
import { describeMedia, mediaRules, refuseMedia } from "./sentFiles.ts"
import type { SimulatedDevice } from "./SimulatedDevice.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

/** Numbers with this prefix are not on WhatsApp. */
const unregistered = "62800"
/** No account may write to numbers with this prefix. */
const outOfReach = "62801"

interface Sent {
  /** The part of the payload from which the history is made. */
  readonly content: Payload
  /** The message's text in the ledger. */
  readonly text: string
  readonly file?: SentFile
}

type Fields = Readonly<Record<string, unknown>>

const invalid = (message: string): Reply => envelope(400, "VALIDATION_ERROR", message)

const textIn = (fields: Fields, name: string): string | null =>
  typeof fields[name] === "string" && fields[name] !== "" ? fields[name] : null

/** Null where a required field is missing or has the wrong type. */
const read = (kind: string, fields: Fields): Sent | Reply | null => {
  switch (kind) {
    case "message": {
      const text = textIn(fields, "message")
      return text === null ? invalid("message: cannot be blank.") : { content: { body: text }, text }
    }
    case "location": {
      const [latitude, longitude] = [textIn(fields, "latitude"), textIn(fields, "longitude")]
      // A number where a text is expected cannot be bound.
      if (latitude === null || longitude === null) return internalError("could not bind the request")
      const location = { degreesLatitude: Number(latitude), degreesLongitude: Number(longitude) }
      return { content: { location }, text: `${latitude},${longitude}` }
    }
    case "contact": {
      const [name, phone] = [textIn(fields, "contact_name"), textIn(fields, "contact_phone")]
      if (name === null || phone === null) return invalid("contact_name: cannot be blank.")
      return { content: { contact: { displayName: name, vcard: "BEGIN:VCARD" } }, text: name }
    }
    case "poll": {
      const question = textIn(fields, "question")
      const { max_answer, options } = fields
      if (question === null || !Array.isArray(options) || options.length === 0) {
        return invalid("options: cannot be blank.")
      }
      if (typeof max_answer !== "number" || max_answer < 1 || max_answer > options.length) {
        return invalid("max_answer: must be between 1 and the number of options.")
      }
      return { content: {}, text: question }
    }
    default:
      return kind in mediaRules ? readMedia(kind, fields[kind], textIn(fields, "caption") ?? "") : null
  }
}

const readMedia = (field: string, file: unknown, caption: string): Sent | Reply => {
  if (typeof file !== "object" || file === null || !("bytes" in file)) return invalid(`${field}: cannot be blank.`)
  const refusal = refuseMedia(field, file as FormFile)
  return refusal === null ? describeMedia(field, file as FormFile, caption) : invalid(refusal)
}

/** `refusal`: why the slot cannot send now. Null: there is no such path. */
export const sendMessage = (
  core: SimulatorCore,
  device: SimulatedDevice,
  kind: string,
  body: unknown,
  refusal: Reply | null
): Reply | null => {
  const fields = typeof body === "object" && body !== null ? body as Fields : {}
  const { phone } = fields
  const asked = read(kind, fields)
  if (asked === null) return null
  if (typeof phone !== "string") return internalError("could not bind the request")
  if (phone === "") return invalid("phone: cannot be blank.")
  if (phone.startsWith("0")) return invalid("phone: must not start with 0.")
  if ("status" in asked) return asked
  if (refusal !== null) return refusal
  const chat = phone.includes("@") ? phone : `${phone.replace(/^\+/, "")}@s.whatsapp.net`
  if (!/^[^@\s]+@[a-z.]+$/.test(chat)) return internalError(`invalid JID ${phone}`)
  if (chat.startsWith(unregistered)) return envelope(400, "INVALID_JID", `Phone ${phone} is not on whatsapp`)
  if (chat.startsWith(outOfReach)) return envelope(429, "WA_REACHOUT_TIMELOCK", "server returned error 463")
  return withSendFaults(core, device, () => {
    const now = new Date(core.now()).toISOString()
    const timestamp = `${now.slice(0, 19)}Z`
    const id = makeWaId()
    // No webhook announces it: it is only in the history, with the companion as its sender.
    const payload = { id, timestamp, is_from_me: true, chat_id: chat, from: companionJid(device.jid ?? "") }
    core.emitter.keep(device, "message", { ...payload, ...asked.content }, {
      chat,
      text: asked.text,
      ...(asked.file === undefined ? undefined : { file: asked.file })
    })
    core.emitter.emit(device, "message.ack", {
      ids: [id],
      chat_id: chat,
      from: chat,
      receipt_type: "delivered",
      receipt_type_description: "the message was delivered",
      timestamp
    })
    const status = `Message sent to ${chat} ${serverTime(now)}`
    return success(status, { message_id: id, status })
  })
}

/** A time of whole seconds in Go's format. */
export const serverTime = (iso: string): string =>
  `(server timestamp: ${iso.slice(0, 10)} ${iso.slice(11, 19)} +0000 UTC)`

/** The account as GOWA's companion device. */
export const companionJid = (jid: string): string => jid.replace("@", ":12@")
