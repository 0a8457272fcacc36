/**
 * Decodes frames of the `bridge` dialect. Total: any text gives session events, and an unreadable one gives one
 * `frame.rejected` that keeps the text. The envelope is fixed (`event`, `device_id`, `payload`); `eventDecoder` reads
 * its payload, and this module handles the dialect's own parts: the device a frame is for, and events that are hints, not facts.
 *
 * Not decided here: which socket the text came from (`SocketSession`), and how a repeat is handled (the log).
 */
import type { EventId } from "../../../domain/Ids.ts"
import { canonical } from "../../../domain/Jid.ts"
import { makeEventId } from "../../../services/EventIdentity.ts"
import type { SessionEvent, SessionTarget } from "../../../services/GatewayParts.ts"
import { type Frame, readEvent, rejected } from "../eventDecoder.ts"
import { accountIn, type Envelope, expiryIn, readEnvelope, shortTextIn } from "../eventPayloads.ts"
import { liveOrigin } from "../rejects.ts"

/**
 * The session events of one text frame. Besides its arguments, the result depends only on `makeId`.
 * `target.jid` null means that the account is not known yet: frames must then name the slot, because accepting any
 * account that they name could store another device's messages as this one's.
 */
export const decodeFrame = (
  text: string,
  target: SessionTarget,
  now: number,
  makeId: (now: number) => EventId = makeEventId
): ReadonlyArray<SessionEvent> => {
  const frame: Frame = { text, target, now, makeId, origin: liveOrigin }
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return [rejected(frame, "not-json", "the frame is not JSON")]
  }
  const envelope = readEnvelope(json)
  if (envelope === null || typeof envelope.device_id !== "string") {
    return [rejected(frame, "not-an-event", "the frame is not an object with event, device_id and payload")]
  }
  if (!isFor(envelope, envelope.device_id, target)) {
    return [rejected(frame, "wrong-device", "the frame names a device that this socket is not for")]
  }
  return readHint(envelope, now) ?? readEvent(frame, envelope)
}

/** Decodes events that only change the device's state; null for others. */
const readHint = ({ event, payload }: Envelope, now: number): ReadonlyArray<SessionEvent> | null => {
  switch (event) {
    case "connected":
      return [{ _tag: "UpstreamConnected", jid: accountIn(payload) }]
    case "disconnected":
      return [readLoss(shortTextIn(payload, "reason"))]
    case "qr":
      return [{ _tag: "LoginNeeded", method: "qr", expiresAt: expiryIn(payload, now) }]
    case "pair_code":
    case "code":
      return [{ _tag: "LoginNeeded", method: "code", expiresAt: expiryIn(payload, now) }]
    case "logged_out":
    case "logged-out":
    case "loggedout":
    case "logout":
      return [{ _tag: "LoggedOut", reason: shortTextIn(payload, "reason") ?? "the gateway reported a logout" }]
    default:
      return null
  }
}

/** Most losses are temporary. An account that was taken over or banned is lost until a person acts. */
const readLoss = (reason: string | null): SessionEvent => {
  if (reason !== null && /\breplaced\b|\bconflict\b/i.test(reason)) return { _tag: "Replaced", reason }
  if (reason !== null && /\bban(ned)?\b/i.test(reason)) return { _tag: "LoggedOut", reason }
  return { _tag: "UpstreamDisconnected", reason }
}

const isFor = (envelope: Envelope, named: string, target: SessionTarget): boolean => {
  if (named === target.upstreamId || envelope.session_id === target.upstreamId) return true
  return target.jid !== null && named.includes("@") && canonical(named) === canonical(target.jid)
}
