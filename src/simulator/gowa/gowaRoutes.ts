/**
 * GOWA's REST API, with its real answers rather than the documented ones: 500 for an unknown slot in the path and 404 for
 * one in a header, 200 for removing one, and a login that creates one.
 */
import type { IncomingMessage } from "node:http"
import { envelope, internalError, success } from "../envelope.ts"
import { chatsReply, messagesReply } from "../history.ts"
import { parseFields, parseJson, plain, type Reply } from "../http.ts"
import type { HistoryRow, SimulatedDevice } from "../SimulatedDevice.ts"
import { actOnMessage, showPresence } from "../actions.ts"
import { sendMessage } from "../sending.ts"
import { refuseWithoutSession, scope } from "./access.ts"
import { fileBytes } from "./files.ts"
import type { GowaServer } from "./GowaServer.ts"

/** Half of the time for which the first code of a login can be scanned. */
const qrSeconds = 30

/** A pairing code lasts as long as the connection on which nobody is logged in. */
const codeMillis = 160_000

export const answer = async (
  server: GowaServer,
  request: IncomingMessage,
  url: URL,
  path: string,
  body: Buffer | null
): Promise<Reply> => {
  if (body === null) return plain(413, "Request Entity Too Large")
  const method = request.method ?? ""
  const segments = path.slice(1).split("/")
  const [first, second, third] = segments
  // GOWA does not percent-decode the slot in a path.
  if (first === "devices") return await slotsReply(server, method, segments, url, request, body)
  if (path === "/app/info" && method === "GET") {
    return success("Fetch app info success", { version: "v9.2.0", os: "linux", base_path: server.basePath })
  }
  const device = scope(server, request, url)
  if ("status" in device) return device
  switch (`${method} ${first}`) {
    case "GET app":
    case "POST app":
      return await appReply(server, device, `${method} ${second}${third === undefined ? "" : `/${third}`}`, url)
    case "GET chats":
      return historyReply(device, url, null)
    case "GET chat":
      return third === "messages" ? historyReply(device, url, decode(second)) : notFound(method, path)
    case "POST send": {
      const refusal = refuseWithoutSession(server, device)
      const fields = await parseFields(request, body)
      if (second === "chat-presence") return showPresence(device, fields, refusal)
      const kind = third === undefined ? second ?? "" : ""
      return sendMessage(server.core, device, kind, fields, refusal) ?? notFound(method, path)
    }
    case "POST message": {
      const refusal = refuseWithoutSession(server, device)
      return actOnMessage(
        server.core,
        device,
        decode(second),
        third ?? "",
        await parseFields(request, body),
        refusal
      ) ??
        notFound(method, path)
    }
    case "GET message":
      return third === "download" ? downloadReply(server, device, decode(second), url, request) : notFound(method, path)
    case "GET ws":
      return plain(426, "Upgrade Required")
    default:
      return notFound(method, path)
  }
}

const notFound = (method: string, path: string): Reply => plain(404, `Cannot ${method} ${path}`)

const badRequest = (message: string): Reply => envelope(400, "BAD_REQUEST", message)

const decode = (segment: string | undefined): string => {
  try {
    return decodeURIComponent(segment ?? "")
  } catch {
    return segment ?? ""
  }
}

// Slots

const slotsReply = async (
  server: GowaServer,
  method: string,
  segments: ReadonlyArray<string>,
  url: URL,
  request: IncomingMessage,
  body: Buffer
): Promise<Reply> => {
  const [, id, action, last] = segments
  if (id === undefined) return method === "POST" ? createSlot(server, request, body) : listSlots(server, method)
  const device = server.core.devices.get(id)
  const route = `${method} ${[action, last].filter((part) => part !== undefined).join("/")}`
  if (route === "DELETE ") {
    server.core.removeDevice(id)
    return success("Device removed")
  }
  if (route === "GET webhook" || route === "PATCH webhook") return webhookReply(server, device, method, request, body)
  // The login of a missing slot creates it, in memory only.
  if (route === "GET login" || route === "POST login/code") {
    const known = device ?? addGhost(server, id)
    return route === "GET login" ? logIn(server, known, request) : logInWithCode(server, known, url)
  }
  if (device === undefined) return internalError(`device ${id} not found`)
  switch (route) {
    case "GET ":
      return success("Device info", formatSlot(server, device))
    case "GET status":
      return success("Device status", { device_id: id, ...readFlags(server, device) })
    case "POST reconnect":
      if (!server.slotOf(device).client) return internalError(`device ${id} client not initialized`)
      if (device.jid === null) return internalError(`device ${id} is not logged in (session deleted)`)
      server.connect(device)
      return success("Reconnect requested")
    case "POST logout":
      await logOut(server, device, formatSlot)
      return success("Logout requested")
    default:
      return notFound(method, `/${segments.join("/")}`)
  }
}

const listSlots = (server: GowaServer, method: string): Reply => {
  if (method !== "GET") return plain(405, "Method Not Allowed")
  const devices = [...server.core.devices.values()]
  return success("List devices", devices.length === 0 ? null : devices.map((device) => formatSlot(server, device)))
}

const createSlot = (server: GowaServer, request: IncomingMessage, body: Buffer): Reply => {
  const asked = readObject(request, body)
  if (asked === null) return badRequest("invalid request body")
  const id = typeof asked.device_id === "string" && asked.device_id !== "" ? asked.device_id : crypto.randomUUID()
  if (server.core.devices.has(id)) return internalError(`device ${id} already exists`)
  const device = server.core.addDevice(id)
  const webhook = readWebhook(asked)
  const hasWebhook = webhook.webhook_url !== "" || webhook.webhook_secret !== "" || webhook.webhook_events !== "" ||
    webhook.webhook_insecure_skip_verify
  if (hasWebhook) server.slotOf(device).webhook = webhook
  return success("Device added", {
    id,
    display_name: "",
    jid: "",
    state: "disconnected",
    created_at: device.createdAt,
    ...(hasWebhook ? webhook : undefined)
  })
}

const addGhost = (server: GowaServer, id: string): SimulatedDevice => {
  const device = server.core.addDevice(id)
  device.logOut()
  Object.assign(server.slotOf(device), { ghost: true, loggedIn: false, client: false, everConnected: false })
  return device
}

/** The list uses the flag that authentication once set; the status of one slot uses the socket. */
const formatSlot = (server: GowaServer, device: SimulatedDevice) => {
  const { loggedIn, pairingUntil } = server.slotOf(device)
  const pairing = pairingUntil > server.core.now()
  return {
    id: device.id,
    state: loggedIn ? "logged_in" : pairing || device.connected ? "connected" : "disconnected",
    ...(device.jid === null ? undefined : { jid: device.jid, display_name: device.name }),
    created_at: device.createdAt
  }
}

const readFlags = (server: GowaServer, device: SimulatedDevice) => ({
  is_connected: device.jid !== null && device.connected,
  is_logged_in: device.jid !== null && server.slotOf(device).loggedIn
})

const webhookReply = (
  server: GowaServer,
  device: SimulatedDevice | undefined,
  method: string,
  request: IncomingMessage,
  body: Buffer
): Reply => {
  if (device === undefined) return envelope(404, "NOT_FOUND", "device not found")
  const slot = server.slotOf(device)
  if (method === "GET") return success("Device webhook retrieved", { device_id: device.id, ...slot.webhook })
  const asked = readObject(request, body)
  if (asked === null) return badRequest("invalid request body")
  if (typeof asked.webhook_url !== "string") return badRequest("webhook_url is required")
  // The whole configuration is replaced: missing fields become empty.
  slot.webhook = readWebhook(asked)
  void server.hub.broadcast({
    code: "DEVICE_WEBHOOK_CONFIG_UPDATED",
    message: `Device ${device.id} webhook config updated`,
    result: { device_id: device.id }
  })
  return success("Device webhook updated", { device_id: device.id, ...slot.webhook })
}

const readWebhook = (asked: Readonly<Record<string, unknown>>) => {
  const text = (key: string) => typeof asked[key] === "string" ? asked[key] : ""
  return {
    webhook_url: text("webhook_url"),
    webhook_secret: text("webhook_secret"),
    webhook_events: text("webhook_events"),
    webhook_insecure_skip_verify: asked.webhook_insecure_skip_verify === true
  }
}

/** Without the right content type there is no body. */
const readObject = (request: IncomingMessage, body: Buffer): Readonly<Record<string, unknown>> | null => {
  if (!/^application\/json\b/i.test(request.headers["content-type"] ?? "")) return null
  const value = parseJson(body)
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? value as Readonly<Record<string, unknown>>
    : null
}

// Login

const appReply = async (server: GowaServer, device: SimulatedDevice, route: string, url: URL): Promise<Reply> => {
  switch (route) {
    case "GET status":
      return success("Connection status retrieved", {
        device_id: device.id,
        ...readFlags(server, device),
        jid: device.jid ?? ""
      })
    case "GET devices":
      return success("Fetch device success", server.listAccounts())
    case "GET reconnect":
      if (device.jid === null) return internalError(`device ${device.id} is not logged in (session deleted)`)
      server.connect(device)
      return success("Reconnect success", { device_id: device.id })
    case "GET logout":
      await logOut(server, device, () => server.listAccounts())
      return success("Success logout", { device_id: device.id })
    case "GET login":
      return logIn(server, device, null)
    case "GET login-with-code":
      return logInWithCode(server, device, url)
    case "GET passkey":
      return passkeyReply(server, device)
    case "POST passkey/response":
      return server.core.pairings.answerPasskey(device)
        ? success("Passkey response sent", { device_id: device.id })
        : internalError("no passkey pairing is pending")
    case "POST passkey/confirm":
      return server.core.pairings.confirmPasskey(device)
        ? success("Passkey pairing confirmed", { device_id: device.id })
        : internalError("no passkey pairing is pending")
    default:
      return notFound("GET", url.pathname)
  }
}

const passkeyReply = (server: GowaServer, device: SimulatedDevice): Reply => {
  const pending = server.core.pairings.passkey(device)
  return success("Passkey pairing status", {
    device_id: device.id,
    status: pending === null ? "none" : pending.stage === "challenge" ? "awaiting_response" : "awaiting_confirmation",
    challenge: pending?.challenge ?? null,
    code: pending?.code ?? "",
    skip_handoff_ux: false
  })
}

/** The frame is sent to every connection before the answer: a client that does not read delays the logout. */
const logOut = async (
  server: GowaServer,
  device: SimulatedDevice,
  format: (server: GowaServer, device: SimulatedDevice) => unknown
): Promise<void> => {
  server.forgetLogin(device)
  const devices = [...server.core.devices.values()]
  await server.hub.broadcast({
    code: "DEVICE_LOGGED_OUT",
    message: `Device ${device.id} logged out (slot kept)`,
    result: { device_id: device.id, devices: devices.map((one) => format(server, one)) }
  })
}

/** Why no login can begin now, or null. */
const refuseLogin = (server: GowaServer, device: SimulatedDevice): Reply | null => {
  if (server.slotOf(device).loggedIn) return envelope(400, "ALREADY_LOGGED_IN", "you are already logged in.")
  if (device.jid === null) return null
  server.after(1000, () => server.connect(device))
  return envelope(
    500,
    "SESSION_SAVED_ERROR",
    "your session have been saved, please wait to connect 2 second and refresh again"
  )
}

const logIn = (server: GowaServer, device: SimulatedDevice, request: IncomingMessage | null): Reply => {
  const refusal = refuseLogin(server, device)
  if (refusal !== null) return refusal
  server.beginPairing(device)
  const path = server.files.addQr(server.core.pairings.showQr(device, 2 * qrSeconds * 1000), qrSeconds * 1000)
  const host = request?.headers.host ?? "wa.internal:3000"
  return success("Login success", {
    device_id: device.id,
    qr_link: `http://${host}${server.basePath}/${path}`,
    qr_duration: qrSeconds
  })
}

const logInWithCode = (server: GowaServer, device: SimulatedDevice, url: URL): Reply => {
  const phone = url.searchParams.get("phone") ?? ""
  if (!/^\+?\d{1,15}$/.test(phone)) return envelope(400, "VALIDATION_ERROR", "phone: must be a valid number.")
  if (!/^\+?[1-9]\d{6,}$/.test(phone)) return internalError("phone number too short or with a leading 0")
  const refusal = refuseLogin(server, device)
  if (refusal !== null) return refusal
  server.beginPairing(device)
  return success("Login with code success", {
    device_id: device.id,
    pair_code: server.core.pairings.showCode(device, codeMillis)
  })
}

// History and files

/** Keyed by the account: without one there is none. Rows without text and file, such as polls, are not stored. */
const historyReply = (device: SimulatedDevice, url: URL, chat: string | null): Reply => {
  for (const name of ["start_time", "end_time"]) {
    const time = url.searchParams.get(name)
    if (time !== null && Number.isNaN(Date.parse(time))) return internalError(`parsing time "${time}" as RFC 3339`)
  }
  const all = device.jid === null ? [] : device.history
  return chat === null
    ? chatsReply(all, url)
    : messagesReply(all.filter(({ content, media_type }) => content !== "" || media_type !== ""), chat, url)
}

const downloadReply = (
  server: GowaServer,
  device: SimulatedDevice,
  id: string,
  url: URL,
  request: IncomingMessage
): Reply => {
  const refusal = refuseWithoutSession(server, device)
  if (refusal !== null) return refusal
  const row = device.history.find((one) => one.id === id)
  if (row === undefined) return internalError(`message with ID ${id} not found`)
  if (row.chat_jid !== url.searchParams.get("phone")) return internalError("message does not belong to this chat")
  const extension = extensions[row.media_type]
  if (extension === undefined) return internalError("message has no downloadable media")
  const path = `statics/media/${row.chat_jid.split("@")[0]}/${row.timestamp.slice(0, 10)}/${id}.${extension}`
  return success("Media downloaded", {
    message_id: id,
    status: `Media downloaded successfully to ${path}`,
    media_type: row.media_type,
    filename: `${id}.${extension}`,
    file_path: path,
    file_url: `http://${request.headers.host ?? "wa.internal:3000"}/${path}`,
    file_size: fileBytes
  })
}

const extensions: Readonly<Record<HistoryRow["media_type"], string>> = {
  image: "jpe",
  video: "mp4",
  video_note: "mp4",
  audio: "oga",
  document: "pdf",
  sticker: "webp"
}
