/** Sending a text through GOWA: the order of its checks, and the receipt that may be there before the answer. */
import { envelope, internalError, success } from "../envelope.ts"
import type { Reply } from "../http.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import { refuseWithoutSession } from "./access.ts"
import { companionJid } from "./events.ts"
import type { GowaServer } from "./GowaServer.ts"

/** Numbers with this beginning are on WhatsApp nowhere. */
const unregistered = "62800"

export const sendMessage = async (server: GowaServer, device: SimulatedDevice, body: unknown): Promise<Reply> => {
  const asked = typeof body === "object" && body !== null ? body as Readonly<Record<string, unknown>> : null
  if (asked === null || typeof asked.phone !== "string") return internalError("could not bind the request")
  const { message, phone } = asked
  if (phone === "") return envelope(400, "VALIDATION_ERROR", "phone: cannot be blank.")
  if (phone.startsWith("0")) return envelope(400, "VALIDATION_ERROR", "phone: must not start with 0.")
  if (typeof message !== "string" || message === "") {
    return envelope(400, "VALIDATION_ERROR", "message: cannot be blank.")
  }
  const refusal = refuseWithoutSession(server, device)
  if (refusal !== null) return refusal
  const chat = phone.includes("@") ? phone : `${phone.replace(/^\+/, "")}@s.whatsapp.net`
  if (!/^[^@\s]+@[a-z.]+$/.test(chat)) return internalError(`invalid JID ${phone}`)
  if (chat.startsWith(unregistered)) return envelope(400, "INVALID_JID", `Phone ${phone} is not on whatsapp`)
  const now = new Date(server.core.now()).toISOString()
  const timestamp = `${now.slice(0, 19)}Z`
  const id = `3EB0${crypto.randomUUID().replaceAll("-", "").slice(0, 16).toUpperCase()}`
  // No webhook tells of it: only the history does, and there in the name of the companion.
  server.core.emitter.keep(device, "message", {
    id,
    timestamp,
    is_from_me: true,
    chat_id: chat,
    from: companionJid(device.jid ?? ""),
    body: message
  })
  server.core.emitter.emit(device, "message.ack", {
    ids: [id],
    chat_id: chat,
    from: chat,
    receipt_type: "delivered",
    receipt_type_description: "the message was delivered",
    timestamp
  })
  const status = `Message sent to ${chat} (server timestamp: ${now.slice(0, 10)} ${now.slice(11, 19)} +0000 UTC)`
  return success(status, { message_id: id, status })
}
