/**
 * The HTTP API of a `bridge` gateway, with its peculiarities: the envelope `{code, message, results}`, 500 for an
 * unknown slot in the path but 404 for one in a header, a plain-text 401 for wrong credentials,
 * `results: null` for no slots.
 */
import type { IncomingMessage } from "node:http"
import { drawPng } from "../../services/qrCode.ts"
import { envelope, internalError, scopedDevice, sessionNotReady, success } from "../envelope.ts"
import { plain, type Reply } from "../http.ts"
import { chatsReply, messagesReply } from "../history.ts"
import { actOnMessage, showPresence } from "../actions.ts"
import { sendMessage } from "../sending.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { SimulatorCore } from "../SimulatorCore.ts"
import { qrSeconds } from "./frames.ts"

/** Null if the gateway does not have this path. `body` is the request's JSON, or undefined. */
export const gatewayReply = (core: SimulatorCore, request: IncomingMessage, url: URL, body: unknown): Reply | null => {
  const [first, second, third] = url.pathname.slice(1).split("/")
  if (first === "devices") {
    return second === undefined
      ? slotsReply(core, request.method ?? "", body)
      : slotReply(core, `${request.method ?? ""} ${url.pathname.split("/").slice(3).join("/")}`, second, url)
  }
  if (first === "chats" || (first === "chat" && third === "messages")) {
    const device = scopedDevice(core, request, url, (name) => core.devices.get(name))
    if ("status" in device) return device
    return first === "chats"
      ? chatsReply(device.history, url)
      : messagesReply(device.history, decodeURIComponent(second ?? ""), url)
  }
  if ((first === "send" && third === undefined) || first === "message") {
    if (request.method !== "POST") return null
    const device = scopedDevice(core, request, url, (name) => core.devices.get(name))
    if ("status" in device) return device
    const refusal = refuseWithoutAccount(device)
    if (first === "message") {
      return actOnMessage(core, device, decodeURIComponent(second ?? ""), third ?? "", body, refusal)
    }
    return second === "chat-presence"
      ? showPresence(device, body, refusal)
      : sendMessage(core, device, second ?? "", body, refusal)
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

const slotReply = (core: SimulatorCore, route: string, id: string, url: URL): Reply => {
  const device = core.devices.get(id)
  if (route === "DELETE ") {
    core.removeDevice(id)
    return success("Device removed")
  }
  if (device === undefined) return internalError(`device ${id} not found`)
  switch (route) {
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
      core.dialect.announce(device, "connected")
      return success("Reconnect requested")
    case "POST logout":
      core.logOut(device)
      return success("Logout requested")
    case "GET login":
    case "POST login/code":
      return logIn(core, device, route === "GET login" ? null : url.searchParams.get("phone") ?? "")
    default:
      return plain(404, "Not Found")
  }
}

/** Lifetime of a pairing code. */
const codeMillis = 160_000

/** The code is in the answer, and a QR code is also announced on the slot's sockets. */
const logIn = (core: SimulatorCore, device: SimulatedDevice, phone: string | null): Reply => {
  if (device.jid !== null) return envelope(400, "ALREADY_LOGGED_IN", "you are already logged in.")
  core.pairings.hide(device)
  if (phone !== null) {
    if (!/^[1-9]\d{6,14}$/.test(phone)) return envelope(400, "VALIDATION_ERROR", "phone: must be a valid number.")
    return success("Login with code started", {
      device_id: device.id,
      pair_code: core.pairings.showCode(device, codeMillis)
    })
  }
  const text = core.pairings.showQr(device, qrSeconds * 1000)
  core.dialect.announce(device, "login")
  const image = `data:image/png;base64,${Buffer.from(drawPng(text)).toString("base64")}`
  return success("Login success", { device_id: device.id, image, qr_duration: qrSeconds })
}

const formatSlot = (device: SimulatedDevice) => ({
  id: device.id,
  state: device.jid === null ? "disconnected" : "logged_in",
  ...(device.jid === null ? undefined : { jid: device.jid, display_name: device.name }),
  created_at: device.createdAt
})
