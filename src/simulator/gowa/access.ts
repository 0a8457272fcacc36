/** Authentication at GOWA, and the slot of a request. */
import type { IncomingMessage } from "node:http"
import { envelope, scopedDevice, sessionNotReady, unauthorized } from "../envelope.ts"
import { plain, type Reply } from "../http.ts"
import type { SimulatedDevice } from "../SimulatedDevice.ts"
import type { GowaServer } from "./GowaServer.ts"

const headerMax = 8192

/** HTTP Basic; an upgrade may carry it in the query instead. All refusals are plain text. Null: allowed. */
export const checkAuth = (
  auth: { readonly user: string; readonly password: string } | undefined,
  request: IncomingMessage,
  url: URL,
  isUpgrade: boolean
): Reply | null => {
  if (auth === undefined) return null
  const inQuery = isUpgrade ? url.searchParams.get("authorization") : null
  const header = request.headers.authorization ??
    (inQuery === null ? undefined : `Basic ${inQuery.replaceAll(" ", "+")}`)
  if (header === undefined) return unauthorized
  if (header.length > headerMax) return plain(431, "Request Header Fields Too Large")
  const scheme = /^basic (.*)$/i.exec(header)
  if (scheme === null) return unauthorized
  const encoded = scheme[1]!
  const text = Buffer.from(encoded, "base64").toString("utf8")
  // oxlint-disable-next-line no-control-regex
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(encoded) || !text.includes(":") || /[\u0000-\u001f\u007f]/.test(text)) {
    return plain(400, "Bad Request")
  }
  return text === `${auth.user}:${auth.password}` ? null : unauthorized
}

/** The slot of a scoped request: the header is unescaped as a query, so a plus in it is a space. */
export const scope = (server: GowaServer, request: IncomingMessage, url: URL): SimulatedDevice | Reply =>
  scopedDevice(server.core, request, url, (name) => server.find(name), unescapeQuery)

const unescapeQuery = (text: string): string => {
  try {
    return decodeURIComponent(text.replaceAll("+", " "))
  } catch {
    return text
  }
}

/** The checks of every request to WhatsApp itself, in GOWA's order. */
export const refuseWithoutSession = (server: GowaServer, device: SimulatedDevice): Reply | null => {
  const { client, loggedIn } = server.slotOf(device)
  if (!client) return envelope(500, "INVALID_WA_CLI", "your WhatsApp CLI is invalid or empty")
  if (!device.connected) return sessionNotReady
  return loggedIn ? null : envelope(401, "AUTHENTICATION_ERROR", "you are not logged in")
}
