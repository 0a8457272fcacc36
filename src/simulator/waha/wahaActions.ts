/** Actions on messages through WAHA, which its events report; and signals to a chat that are not messages. */
import type { Payload } from "../Dialect.ts"
import { json, type Reply } from "../http.ts"
import { makeWaId, withSendFaults } from "../sendFaults.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"

export interface WahaAction {
  readonly event: "message.reaction" | "message.edited" | "message.revoked"
  /** `{true|false}_{chat}_{raw}[_{participant}]` */
  readonly ref: string
  readonly text: string
}

const phoneJid = (address: string): string => address.replace(/@c\.us$/, "@s.whatsapp.net")

/** Null: the reference names no message. */
const parseRef = (ref: string): { readonly fromMe: boolean; readonly chat: string; readonly raw: string } | null => {
  const [direction, chat, raw] = ref.split("_")
  return (direction !== "true" && direction !== "false") || !chat?.includes("@") || !raw
    ? null
    : { fromMe: direction === "true", chat: phoneJid(chat), raw }
}

const badRequest = (message: string): Reply => json(400, { message: [message], error: "Bad Request", statusCode: 400 })

export const wahaAct = (core: SimulatorCore, device: SimulatedDevice, { event, ref, text }: WahaAction): Reply => {
  const target = parseRef(ref)
  if (target === null) return badRequest("messageId must be the id of a message")
  return withSendFaults(core, device, () => {
    const id = makeWaId()
    const { chat, fromMe, raw } = target
    const content: Payload = event === "message.reaction"
      ? { reaction: text, reacted_message_id: raw }
      : event === "message.edited"
      ? { body: text, original_message_id: raw }
      : { revoked_message_id: raw, revoked_from_me: fromMe }
    const timestamp = `${new Date(core.now()).toISOString().slice(0, 19)}Z`
    const payload = { id, timestamp, is_from_me: true, chat_id: chat, from: device.jid ?? "", ...content }
    core.emitter.emit(device, event, payload, { chat, text })
    // A deletion returns nothing.
    return event === "message.revoked" ? { status: 200, body: "" } : json(event === "message.edited" ? 200 : 201, {})
  })
}

export const signalPaths: ReadonlySet<string> = new Set(["sendSeen", "startTyping", "stopTyping"])

export const wahaSignal = (device: SimulatedDevice, path: string, body: Payload): Reply => {
  const { chatId, messageIds } = body
  if (typeof chatId !== "string" || !chatId.includes("@")) return badRequest("chatId must be a string")
  const chat = phoneJid(chatId)
  if (path !== "sendSeen") device.signal(`typing ${path === "startTyping" ? "start" : "stop"} in ${chat}`)
  else {
    for (const ref of Array.isArray(messageIds) ? messageIds : []) {
      device.signal(`read ${parseRef(String(ref))?.raw ?? ""} in ${chat}`)
    }
  }
  return json(201, {})
}
