/**
 * Maps the reasons why a connection could not begin or ended to our failure classes. Pure, so that the whole table is tested.
 *
 * The class indicates who can fix it: an operator (`auth`), the other client of the account (`conflict`), or the operator of
 * the gateway, for all its devices at once (`upstreamDown`). `transport` is about this connection only and is usually
 * temporary.
 */
import type { Failure } from "../../domain/DeviceState.ts"
import { type Envelope, isUnknownSlot } from "./envelope.ts"
import type { Violation } from "./websocket/FrameReader.ts"

/** A failure to open, with the wait that the gateway asked for. */
export interface Refusal {
  readonly failure: Failure
  /** Milliseconds, or null. */
  readonly retryAfter: number | null
}

/** An hour: a gateway that names a longer wait is tried again all the same. */
const retryAfterMax = 3_600_000

const failure = (kind: Failure["class"], code: string, detail: string): Failure => ({ class: kind, code, detail })

export const handshakeTimeout = (millis: number): Failure =>
  failure("upstreamDown", "handshake-timeout", `the gateway did not finish the handshake within ${millis} ms`)

export const pingTimeout = (millis: number): Failure =>
  failure("transport", "ping-timeout", `the gateway gave no sign of life for ${millis} ms`)

export const scopeClosed: Failure = failure("transport", "closed-by-us", "the session was closed by this side")

/** Statuses whose meaning depends on who answered, so that the body is worth reading. */
export const dependsOnBody = (status: number): boolean => status === 401 || status === 404 || status === 500

/**
 * An HTTP answer in place of the upgrade. `envelope` is null where the body is not the gateway's own: then a 404 comes
 * from something in the gateway's place and is not about the slot, and a 401 is about our credentials.
 */
export const ofStatus = (
  status: number,
  headers: Readonly<Record<string, string | ReadonlyArray<string> | undefined>>,
  envelope: Envelope | null,
  now: number
): Refusal => {
  const retryAfter = readRetryAfter(headers["retry-after"], now)
  const answered = `the gateway answered the handshake with ${status}`
  const refused = (kind: Failure["class"], code: string, detail: string): Refusal => ({
    failure: failure(kind, code, detail),
    retryAfter
  })
  if (isUnknownSlot(status, envelope)) return refused("transport", "unknown-slot", answered)
  if (status === 401 && envelope !== null) {
    return refused("transport", "session-not-ready", `${answered}: its WhatsApp session is not up`)
  }
  if (status === 404) {
    const detail = "something else than the gateway answered the handshake with 404; look at its URL and at proxies"
    return refused("upstreamDown", "not-the-gateway", detail)
  }
  if (status >= 300 && status < 400) {
    const detail = `${answered}, a redirect; the gateway's URL may be out of date`
    return refused("upstreamDown", "redirected", detail)
  }
  const [kind, code] = statusClasses.get(status) ??
    (status >= 520 && status <= 530 ? ["upstreamDown", "unavailable"] as const : ["transport", "handshake-refused"])
  return refused(kind, code, answered)
}

const statusClasses = new Map<number, readonly [Failure["class"], string]>([
  [401, ["auth", "unauthorized"]],
  [403, ["auth", "forbidden"]],
  [407, ["auth", "unauthorized"]],
  [408, ["upstreamDown", "unavailable"]],
  [409, ["conflict", "replaced"]],
  [429, ["transport", "rate-limited"]],
  [502, ["upstreamDown", "unavailable"]],
  [503, ["upstreamDown", "unavailable"]],
  [504, ["upstreamDown", "unavailable"]]
])

/** Seconds or an HTTP date. Any other value, or one in the past, is no wait. */
const readRetryAfter = (value: string | ReadonlyArray<string> | undefined, now: number): number | null => {
  if (typeof value !== "string") return null
  const seconds = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now
  return seconds > 0 ? Math.min(seconds, retryAfterMax) : null
}

export const notAWebSocket: Failure = failure("transport", "not-a-websocket", "what answered is no WebSocket server")

/** An error before the socket was up: no connection, no TLS, no proper answer. */
export const ofConnectError = (error: { readonly code?: string | undefined }): Failure => {
  const code = error.code ?? ""
  if (localCodes.has(code)) {
    return failure("transport", "local-limit", `this machine could not open a socket (${code})`)
  }
  if (unreachableCodes.has(code)) {
    return failure("upstreamDown", "unreachable", `no connection to the gateway (${code})`)
  }
  if (/CERT|TLS|SSL|SELF_SIGNED/.test(code)) {
    return failure("upstreamDown", "tls", `no trusted connection to the gateway (${code})`)
  }
  if (code.startsWith("HPE_") || code === "") {
    return notAWebSocket
  }
  return failure("upstreamDown", "unreachable", `no connection to the gateway (${code})`)
}

const localCodes = new Set(["EMFILE", "ENFILE", "EADDRNOTAVAIL", "ENOBUFS", "ENOMEM"])
const unreachableCodes = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "EPIPE",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ETIMEDOUT"
])

/** How the gateway broke the protocol of an open socket. Reported before the close, and more precise than the close's code. */
export const ofViolation = (violation: Violation): Failure =>
  violation === "too-large"
    ? failure("transport", "frame-too-large", "the gateway sent a frame above the hard size limit")
    : failure("transport", "protocol-error", `the gateway broke the WebSocket protocol (${violation})`)

/** A close frame from the gateway, or 1006 where the connection ended without one. */
export const ofClose = (closeCode: number): Failure => {
  const [kind, code, detail] = closeClasses.get(closeCode) ??
    ["transport", "socket-closed", "the gateway closed the connection"] as const
  return failure(kind, code, `${detail} (${closeCode})`)
}

const closeClasses = new Map<number, readonly [Failure["class"], string, string]>([
  [1002, ["transport", "protocol-error", "the gateway saw a protocol error"]],
  [1003, ["transport", "protocol-error", "the gateway refused our data"]],
  [1006, ["transport", "socket-lost", "the connection ended without a close frame"]],
  [1007, ["transport", "protocol-error", "the gateway refused our data"]],
  [1008, ["auth", "policy", "the gateway refused us by policy"]],
  [1009, ["transport", "frame-too-large", "a frame was above the size limit"]],
  [1011, ["transport", "gateway-error", "the gateway met an error of its own"]],
  [1012, ["upstreamDown", "restarting", "the gateway is restarting"]],
  [1013, ["upstreamDown", "overloaded", "the gateway is overloaded"]],
  [1014, ["upstreamDown", "unavailable", "the gateway behind the proxy is away"]],
  [4401, ["auth", "unauthorized", "the gateway refused our credentials"]],
  [4403, ["auth", "forbidden", "the gateway refused us this device"]],
  [4404, ["transport", "unknown-slot", "the gateway has no such slot"]],
  [4409, ["conflict", "replaced", "another session took this device over"]],
  [4429, ["transport", "rate-limited", "the gateway asked for less"]]
])

/** The close code that reports to the gateway why this side ends the session. */
export const chooseCloseCode = (reason: Failure): number => reason.class === "ours" ? 1011 : 1001
