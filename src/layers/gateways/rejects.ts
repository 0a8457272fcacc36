/**
 * What an adapter records of an unreadable or refused frame: the reason, the frame's beginning and its length.
 * The same for all dialects, because it is about bytes and not about their meaning.
 */
import type { EventIdentity } from "../../domain/Event.ts"
import type { Via } from "../../domain/Via.ts"
import type { EventId } from "../../domain/Ids.ts"
import { rejectedRawMax } from "../../domain/EventData.ts"
import type { RejectedData } from "../../domain/EventData.ts"
import { digest, makeEventId } from "../../services/EventIdentity.ts"
import type { SessionEvent, SessionTarget } from "../../services/GatewayParts.ts"

/** Makes the id of an event; tests make their own. */
export type MakeEventId = (now: number) => EventId

/** The way by which a text came, and the identity of its events that have none of their own. */
export interface Origin {
  readonly via: Via
  /** Null where a text comes only once. */
  readonly identity: EventIdentity | null
}

/** A session's frame. The gateway does not send it again. */
export const liveOrigin: Origin = { via: "live", identity: null }

/** A text that may come again, byte for byte: its digest identifies it. */
export const repeatableOrigin = (via: Via, text: string): Origin => ({ via, identity: digestIdentity(text) })

export const digestIdentity = (text: string): EventIdentity => ({
  chat: "",
  sender: "",
  fromMe: false,
  waId: digest(text),
  rank: ""
})

/** A text frame that cannot be read, with the given reason. */
export const rejectText = (
  text: string,
  target: SessionTarget,
  now: number,
  reason: RejectedData["reason"],
  detail: string,
  makeId: MakeEventId = makeEventId,
  origin: Origin = liveOrigin
): SessionEvent => {
  const data = Buffer.from(text)
  return record(target, now, { reason, detail, raw: cut(data), rawLength: data.length }, makeId, origin)
}

/** A binary frame, where the dialect has none. `raw` is base64. */
export const rejectBinary = (data: Buffer, target: SessionTarget, now: number): SessionEvent =>
  record(target, now, {
    reason: "binary",
    detail: "the frame is binary; raw is its beginning in base64",
    raw: data.subarray(0, Math.floor(rejectedRawMax / 4) * 3).toString("base64"),
    rawLength: data.length
  })

/** A text frame above the size limit, which is not decoded. */
export const rejectOversized = (data: Buffer, target: SessionTarget, now: number, limit: number): SessionEvent =>
  record(target, now, {
    reason: "too-large",
    detail: `the frame is above the limit of ${limit} bytes; raw is its beginning`,
    raw: cut(data),
    rawLength: data.length
  })

/** A frame so large that the socket was closed instead of reading it: only that it was above the limit is known. */
export const rejectUnread = (limit: number, target: SessionTarget, now: number): SessionEvent =>
  record(target, now, {
    reason: "too-large",
    detail: `the frame is above the hard limit of ${limit} bytes and was not read; rawLength is the least it can be`,
    raw: "",
    rawLength: limit + 1
  })

/** A frame on which the decoder threw: kept like any other frame that cannot be read. */
export const rejectDefective = (
  text: string,
  target: SessionTarget,
  now: number,
  defect: unknown,
  origin: Origin = liveOrigin
): SessionEvent => {
  const detail = `the decoder failed: ${defect instanceof Error ? defect.name : "unknown"}`
  return rejectText(text, target, now, "unreadable", detail, makeEventId, origin)
}

const record = (
  target: SessionTarget,
  now: number,
  data: RejectedData,
  makeId: MakeEventId = makeEventId,
  origin: Origin = liveOrigin
): SessionEvent => ({
  _tag: "Record",
  draft: {
    id: makeId(now),
    kind: "frame.rejected",
    deviceId: target.deviceId,
    occurredAt: new Date(now).toISOString(),
    via: origin.via,
    data,
    identity: origin.identity,
    aliases: []
  }
})

/** The beginning of a UTF-8 text, not longer than `rejectedRawMax` bytes and without half a character at its end. */
const cut = (data: Buffer): string => {
  if (data.length <= rejectedRawMax) return data.toString("utf8")
  let end = rejectedRawMax
  while ((data[end]! & 0xc0) === 0x80) end--
  return data.toString("utf8", 0, end)
}
