/**
 * The HTTP API of a `bridge` gateway, with its peculiarities: the envelope `{code, message, results}`, 500 for an
 * unknown slot that the path names but 404 for one that a header names, a plain-text 401 for wrong credentials,
 * `results: null` for no slots.
 */
import type { IncomingMessage } from "node:http"
import { envelope, internalError, scopedDevice, sessionNotReady, success } from "../envelope.ts"
import { plain, type Reply } from "../http.ts"
import { chatsReply, messagesReply } from "../history.ts"
import { sendMessage } from "../sending.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"

/** Null if the gateway does not have this path. `body` is the request's JSON, or undefined. */
export const gatewayReply = (core: SimulatorCore, request: IncomingMessage, url: URL, body: unknown): Reply | null => {
  const [first, second, third] = url.pathname.slice(1).split("/")
  if (first === "devices") {
    return second === undefined
      ? slotsReply(core, request.method ?? "", body)
      : slotReply(core, request.method ?? "", second, third)
  }
  if (first === "chats" || (first === "chat" && third === "messages")) {
    const device = scopedDevice(core, request, url, (name) => core.devices.get(name))
    if ("status" in device) return device
    return first === "chats"
      ? chatsReply(device.history, url)
      : messagesReply(device.history, decodeURIComponent(second ?? ""), url)
  }
  if (first === "send" && request.method === "POST" && third === undefined) {
    const device = scopedDevice(core, request, url, (name) => core.devices.get(name))
    if ("status" in device) return device
    return sendMessage(core, device, second ?? "", body, refuseWithoutAccount(device))
  }
  return null
}

const refuseWithoutAccount = (device: SimulatedDevice): Reply | null =>
  device.jid === null
    ? envelope(500, "INVALID_WA_CLI", "your WhatsApp CLI is invalid or empty")
    : device.connected
    ? null
    : sessionNotReady

const slotsReply = (core: SimulatorCore, method: string, body: unknown): Reply => {
  if (method === "GET") {
    return success("List devices", core.devices.size === 0 ? null : [...core.devices.values()].map(formatSlot))
  }
  if (method !== "POST") return plain(405, "Method Not Allowed")
  if (typeof body !== "object" || body === null) return envelope(400, "BAD_REQUEST", "invalid body")
  const asked = (body as { readonly device_id?: unknown }).device_id
  const id = typeof asked === "string" && asked !== "" ? asked : crypto.randomUUID()
  if (core.devices.has(id)) return internalError(`device ${id} already exists`)
  return success("Device added", { ...formatSlot(core.addDevice(id)), display_name: "" })
}

const slotReply = (core: SimulatorCore, method: string, id: string, action: string | undefined): Reply => {
  const device = core.devices.get(id)
  if (method === "DELETE" && action === undefined) {
    core.removeDevice(id)
    return success("Device removed")
  }
  if (device === undefined) return internalError(`device ${id} not found`)
  switch (`${method} ${action ?? ""}`) {
    case "GET ":
      return success("Device info", formatSlot(device))
    case "GET status":
      return success("Device status", {
        device_id: id,
        is_connected: device.connected,
        is_logged_in: device.jid !== null
      })
    case "POST reconnect":
      if (device.jid === null) return internalError(`device ${id} is not logged in`)
      device.connected = true
      core.dialect.tell(device, "connected")
      return success("Reconnect requested")
    case "POST logout":
      core.logOut(device)
      return success("Logout requested")
    default:
      return plain(404, "Not Found")
  }
}

const formatSlot = (device: SimulatedDevice) => ({
  id: device.id,
  state: device.jid === null ? "disconnected" : "logged_in",
  ...(device.jid === null ? undefined : { jid: device.jid, display_name: device.name }),
  created_at: device.createdAt
})
