/**
 * What a frame of the `bridge` dialect means. Total: any text gives session events, and what cannot be read gives one
 * `frame.rejected` that keeps the text. The envelope is fixed (`event`, `device_id`, `payload`); `eventDecoder` reads
 * what is in it, and here is what is the dialect's own: whom a frame is for, and the events that are no facts but hints.
 *
 * Not decided here: which socket the text came from (`SocketSession`), and what becomes of a repeat (the log).
 */
import type { EventId } from "../../../domain/Ids.ts"
import { canonical } from "../../../domain/Jid.ts"
import { makeEventId } from "../../../services/EventIdentity.ts"
import type { SessionEvent, SessionTarget } from "../../../services/GatewayParts.ts"
import { type Frame, readEvent, rejected } from "../eventDecoder.ts"
import { accountIn, type Envelope, expiryIn, readEnvelope, wordsIn } from "../eventPayloads.ts"
import { liveOrigin } from "../rejects.ts"

/**
 * The session events of one text frame. `makeId` is the only thing besides its arguments that the result depends on.
 * `target.jid` null means that the account is not known yet: frames must then name the slot, because taking whatever
 * account they name could store another device's messages as this one's.
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

/** The events that only move the device's state, or null. */
const readHint = ({ event, payload }: Envelope, now: number): ReadonlyArray<SessionEvent> | null => {
  switch (event) {
    case "connected":
      return [{ _tag: "UpstreamConnected", jid: accountIn(payload) }]
    case "disconnected":
      return [readLoss(wordsIn(payload, "reason"))]
    case "qr":
      return [{ _tag: "LoginNeeded", method: "qr", expiresAt: expiryIn(payload, now) }]
    case "pair_code":
    case "code":
      return [{ _tag: "LoginNeeded", method: "code", expiresAt: expiryIn(payload, now) }]
    case "logged_out":
    case "logged-out":
    case "loggedout":
    case "logout":
      return [{ _tag: "LoggedOut", reason: wordsIn(payload, "reason") ?? "the gateway reported a logout" }]
    default:
      return null
  }
}

/** Most losses pass by themselves. An account that was taken over or shut out is lost until a person does something. */
const readLoss = (reason: string | null): SessionEvent => {
  if (reason !== null && /\breplaced\b|\bconflict\b/i.test(reason)) return { _tag: "Replaced", reason }
  if (reason !== null && /\bban(ned)?\b/i.test(reason)) return { _tag: "LoggedOut", reason }
  return { _tag: "UpstreamDisconnected", reason }
}

const isFor = (envelope: Envelope, named: string, target: SessionTarget): boolean => {
  if (named === target.upstreamId || envelope.session_id === target.upstreamId) return true
  return target.jid !== null && named.includes("@") && canonical(named) === canonical(target.jid)
}
