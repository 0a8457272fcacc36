/**
 * Decodes frames of GOWA's socket. The socket carries no messages: only that an account was paired or logged out, and
 * the steps of a passkey login. Total: any text gives news or nothing, because the set of codes is open and an unknown
 * frame must not end the socket of all devices.
 */
import { Predicate } from "effect"
import type { SessionEvent } from "../../../services/GatewayParts.ts"

export type News =
  /** About the slot that the frame names. */
  | { readonly _tag: "Slot"; readonly slot: string; readonly event: SessionEvent }
  /** An account was paired. The frame names the account, which no slot may have yet, and never the slot. */
  | { readonly _tag: "Paired" }

/** The longest reason that is kept; only people read it. */
const reasonMax = 200

export const readControlFrame = (text: string): News | null => {
  let frame: unknown
  try {
    frame = JSON.parse(text)
  } catch {
    return null
  }
  if (!Predicate.isObject(frame) || typeof frame.code !== "string") return null
  if (frame.code === "LOGIN_SUCCESS") return { _tag: "Paired" }
  const result = frame.result
  const slot = Predicate.isObject(result) && typeof result.device_id === "string" ? result.device_id : ""
  if (slot === "") return null
  const event = readEvent(frame.code, frame.message)
  return event === null ? null : { _tag: "Slot", slot, event }
}

const readEvent = (code: string, message: unknown): SessionEvent | null => {
  switch (code) {
    case "DEVICE_LOGGED_OUT":
    // The names before 8.10.
    case "DEVICE_REMOVED":
    case "LOGOUT_COMPLETE":
      return {
        _tag: "LoggedOut",
        reason: typeof message === "string" && message !== ""
          ? message.slice(0, reasonMax)
          : "the gateway logged it out"
      }
    // The challenge and the code in these frames are secrets of the login.
    case "PASSKEY_REQUEST":
    case "PASSKEY_CONFIRMATION":
      return { _tag: "LoginNeeded", method: "passkey", expiresAt: null }
    case "PASSKEY_ERROR":
      return { _tag: "LoginNeeded", method: "unknown", expiresAt: null }
    default:
      return null
  }
}
