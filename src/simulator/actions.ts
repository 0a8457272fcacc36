/**
 * Actions on messages over the API of GOWA, and of `bridge` servers that have its paths. Like messages that were
 * sent so, an action is not announced: it is in the ledger, and in the history as a state of the message.
 */
import type { Payload } from "./Dialect.ts"
import { envelope, internalError, success } from "./envelope.ts"
import type { Reply } from "./http.ts"
import { makeWaId, withSendFaults } from "./sendFaults.ts"
import { companionJid, serverTime } from "./sending.ts"
import type { SimulatedDevice } from "./SimulatedDevice.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

interface Done {
  readonly event: string
  readonly content: Payload
  readonly text: string
}

const invalid = (message: string): Reply => envelope(400, "VALIDATION_ERROR", message)

/** Null: there is no such path. */
const read = (action: string, id: string, { emoji, message }: Payload): Done | Reply | null => {
  switch (action) {
    case "reaction":
      return typeof emoji === "string"
        ? { event: "message.reaction", content: { reaction: emoji, reacted_message_id: id }, text: emoji }
        : internalError("could not bind the request")
    case "update":
      return typeof message === "string" && message !== ""
        ? { event: "message.edited", content: { body: message, original_message_id: id }, text: message }
        : invalid("message: cannot be blank.")
    case "revoke":
      return { event: "message.revoked", content: { revoked_message_id: id, revoked_from_me: true }, text: "" }
    default:
      return null
  }
}

/** `refusal`: why the slot cannot act now. */
export const actOnMessage = (
  core: SimulatorCore,
  device: SimulatedDevice,
  id: string,
  action: string,
  body: unknown,
  refusal: Reply | null
): Reply | null => {
  const fields = typeof body === "object" && body !== null ? body as Payload : {}
  const { phone } = fields
  if (action === "read") return signal(device, `read ${id}`, phone, refusal)
  const asked = read(action, id, fields)
  if (asked === null) return null
  if (typeof phone !== "string" || phone === "") return invalid("phone: cannot be blank.")
  if ("status" in asked) return asked
  if (refusal !== null) return refusal
  return withSendFaults(core, device, () => {
    const own = makeWaId()
    const timestamp = `${new Date(core.now()).toISOString().slice(0, 19)}Z`
    const payload = { id: own, timestamp, is_from_me: true, chat_id: phone, from: companionJid(device.jid ?? "") }
    core.emitter.keep(device, asked.event, { ...payload, ...asked.content }, { chat: phone, text: asked.text })
    const status = `Message ${action} to ${phone} ${serverTime(timestamp)}`
    return success(status, { message_id: own, status })
  })
}

/** Presence of a chat. Not a message, although the path is one of those that send. */
export const showPresence = (device: SimulatedDevice, body: unknown, refusal: Reply | null): Reply => {
  const { action, phone } = typeof body === "object" && body !== null ? body as Payload : {}
  return action === "start" || action === "stop"
    ? signal(device, `typing ${action}`, phone, refusal)
    : invalid("action: must be start or stop.")
}

const signal = (device: SimulatedDevice, what: string, phone: unknown, refusal: Reply | null): Reply => {
  if (typeof phone !== "string" || phone === "") return invalid("phone: cannot be blank.")
  if (refusal !== null) return refusal
  device.signal(`${what} in ${phone}`)
  return success("Success", { message_id: "presence", status: "Success" })
}
