/** The envelope `{code, message, results}` of the `bridge` and `gowa` dialects, and the refusals that they share. */
import type { IncomingMessage } from "node:http"
import { json, plain, type Reply } from "./http.ts"
import type { SimulatedDevice } from "./SimulatedDevice.ts"
import type { SimulatorCore } from "./SimulatorCore.ts"

export const envelope = (status: number, code: string, message: string, results?: unknown): Reply =>
  json(status, results === undefined ? { code, message } : { code, message, results })

export const success = (message: string, results?: unknown): Reply => envelope(200, "SUCCESS", message, results)

export const internalError = (message: string): Reply => envelope(500, "INTERNAL_SERVER_ERROR", message)

export const unauthorized = plain(401, "Unauthorized", {
  "www-authenticate": "Basic realm=\"Restricted\", charset=\"UTF-8\"",
  "cache-control": "no-store",
  vary: "Authorization"
})

export const sessionNotReady = envelope(
  401,
  "AUTHENTICATION_ERROR",
  "you are not connect to services server, please reconnect"
)

/** The device of a scoped request, or the refusal: by header, else by query, else the only existing device. */
export const scopedDevice = (
  core: SimulatorCore,
  request: IncomingMessage,
  url: URL,
  find: (name: string) => SimulatedDevice | undefined,
  unescape: (header: string) => string = (header) => header
): SimulatedDevice | Reply => {
  const header = request.headers["x-device-id"]
  const named = (typeof header === "string" ? unescape(header.trim()) : "") || url.searchParams.get("device_id") || ""
  if (named !== "") {
    return find(named) ?? envelope(404, "DEVICE_NOT_FOUND", `device ${named} not found`, { device_id: named })
  }
  if (core.devices.size === 1) return [...core.devices.values()][0]!
  return envelope(400, "DEVICE_ID_REQUIRED", "device_id is required via X-Device-Id header or device_id query")
}
