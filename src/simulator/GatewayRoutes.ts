/**
 * The HTTP API of the gateway itself, with its peculiarities: the envelope `{code, message, results}`, 500 for an
 * unknown slot that the path names but 404 for one that a header names, a plain-text 401 for wrong credentials,
 * `results: null` for no slots.
 */
import type { IncomingMessage } from "node:http"
import type { HistoryRow, SimulatedDevice } from "./SimulatedDevice.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

export interface Reply {
  readonly status: number
  readonly body: string
  readonly headers?: Readonly<Record<string, string>>
}

const envelope = (status: number, code: string, message: string, results?: unknown): Reply => ({
  status,
  body: JSON.stringify(results === undefined ? { code, message } : { code, message, results }),
  headers: { "content-type": "application/json" }
})

const success = (message: string, results?: unknown): Reply => envelope(200, "SUCCESS", message, results)

export const plain = (status: number, body: string, headers: Readonly<Record<string, string>> = {}): Reply => ({
  status,
  body,
  headers: { "content-type": "text/plain", ...headers }
})

export const unauthorized = plain(401, "Unauthorized", {
  "www-authenticate": "Basic realm=\"Restricted\", charset=\"UTF-8\"",
  "cache-control": "no-store"
})

export const sessionNotReady = envelope(
  401,
  "AUTHENTICATION_ERROR",
  "you are not connect to services server, please reconnect"
)

/** The device of a scoped request, or the refusal: by header, else by query, else the only device there is. */
export const scopedDevice = (core: SimulatorCore, request: IncomingMessage, url: URL): SimulatedDevice | Reply => {
  const header = request.headers["x-device-id"]
  const named = (typeof header === "string" ? header.trim() : "") || url.searchParams.get("device_id") || ""
  if (named !== "") {
    return core.devices.get(named) ??
      envelope(404, "DEVICE_NOT_FOUND", `device ${named} not found`, { device_id: named })
  }
  if (core.devices.size === 1) return [...core.devices.values()][0]!
  return envelope(400, "DEVICE_ID_REQUIRED", "device_id is required via X-Device-Id header or device_id query")
}

/** Null if the gateway does not have this path. `body` is the request's JSON, or undefined. */
export const gatewayReply = (core: SimulatorCore, request: IncomingMessage, url: URL, body: unknown): Reply | null => {
  const [first, second, third] = url.pathname.slice(1).split("/")
  if (first === "devices") {
    return second === undefined
      ? slotsReply(core, request.method ?? "", body)
      : slotReply(core, request.method ?? "", second, third)
  }
  if (first === "chats" || (first === "chat" && third === "messages")) {
    const device = scopedDevice(core, request, url)
    if ("status" in device) return device
    return first === "chats" ? chatsReply(device, url) : messagesReply(device, decodeURIComponent(second ?? ""), url)
  }
  return null
}

const slotsReply = (core: SimulatorCore, method: string, body: unknown): Reply => {
  if (method === "GET") {
    return success("List devices", core.devices.size === 0 ? null : [...core.devices.values()].map(formatSlot))
  }
  if (method !== "POST") return plain(405, "Method Not Allowed")
  if (typeof body !== "object" || body === null) return envelope(400, "BAD_REQUEST", "invalid body")
  const asked = (body as { readonly device_id?: unknown }).device_id
  const id = typeof asked === "string" && asked !== "" ? asked : crypto.randomUUID()
  if (core.devices.has(id)) return envelope(500, "INTERNAL_SERVER_ERROR", `device ${id} already exists`)
  return success("Device added", { ...formatSlot(core.addDevice(id)), display_name: "" })
}

const slotReply = (core: SimulatorCore, method: string, id: string, action: string | undefined): Reply => {
  const device = core.devices.get(id)
  if (method === "DELETE" && action === undefined) {
    core.removeDevice(id)
    return success("Device removed")
  }
  if (device === undefined) return envelope(500, "INTERNAL_SERVER_ERROR", `device ${id} not found`)
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
      if (device.jid === null) return envelope(500, "INTERNAL_SERVER_ERROR", `device ${id} is not logged in`)
      device.connected = true
      core.control(device, "connected")
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

const chatsReply = (device: SimulatedDevice, url: URL): Reply => {
  const page = parsePage(url, 25)
  if (page === null) return envelope(400, "VALIDATION_ERROR", "limit: must be between 1 and 100.")
  const newest = new Map<string, HistoryRow>()
  for (const row of device.history) newest.set(row.chat_jid, row)
  const chats = [...newest.values()].sort(newestFirst).map(formatChat)
  const { limit, offset } = page
  return success("Success get chat list", {
    data: chats.slice(offset, offset + limit),
    pagination: { limit, offset, total: chats.length }
  })
}

const messagesReply = (device: SimulatedDevice, chat: string, url: URL): Reply => {
  const page = parsePage(url, 50)
  if (page === null) return envelope(400, "VALIDATION_ERROR", "limit: must be between 1 and 100.")
  const start = url.searchParams.get("start_time")
  const end = url.searchParams.get("end_time")
  const rows = device.history.filter((row) => row.chat_jid === chat)
  // Compared as text, with both ends included, as the gateway's database does.
  const within = rows.filter(({ timestamp }) =>
    (start === null || timestamp >= start) && (end === null || timestamp <= end)
  )
  const { limit, offset } = page
  const last = rows.at(-1)
  return success("Success get chat messages", {
    data: within.sort(newestFirst).slice(offset, offset + limit),
    pagination: { limit, offset, total: rows.length },
    chat_info: last === undefined ? { jid: chat, name: "", last_message_time: "" } : formatChat(last)
  })
}

const formatChat = (last: HistoryRow) => ({
  jid: last.chat_jid,
  name: last.sender_display_name,
  last_message_time: last.timestamp,
  ephemeral_expiration: 0,
  created_at: last.created_at,
  updated_at: last.updated_at,
  archived: false
})

const newestFirst = (a: HistoryRow, b: HistoryRow): number =>
  a.timestamp < b.timestamp ? 1 : a.timestamp > b.timestamp ? -1 : 0

const parsePage = (url: URL, usual: number): { readonly limit: number; readonly offset: number } | null => {
  const limit = Number(url.searchParams.get("limit") ?? "") || usual
  const offset = Number(url.searchParams.get("offset") ?? "") || 0
  return limit >= 1 && limit <= 100 && offset >= 0 ? { limit, offset } : null
}
