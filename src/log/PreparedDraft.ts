/**
 * Makes drafts ready for a store, and turns what no store would take into a `frame.rejected` that every store takes.
 */
import type { AckData, DeviceStateData, EventDraft, EventKind, MessageData, RejectedData } from "../domain/Event.ts"
import type { EventId, MessageId } from "../domain/Ids.ts"
import { canonical } from "../domain/Jid.ts"
import { clean, digestContent, digest, deriveKey, deriveKeyParts } from "./EventKey.ts"
import type { Projection, PreparedDraft } from "./LogStore.ts"

/** As `RejectedData` promises. */
const rawMax = 64 * 1024

/** What a queued draft weighs beyond its JSON text: the objects around it, roughly. */
const overheadBytes = 512

/** RFC 3339 in UTC, as far as a reader may rely on it. */
const timestampPattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/

// oxlint-disable-next-line no-control-regex
const nul = /\u0000/g

/** Text columns hold anything but NUL. The JSON of the event keeps what really came. */
const text = (value: string): string => value.replace(nul, "\ufffd")

/** `makeId` gives the id of the `frame.rejected` that stands in where the draft itself cannot be written down. */
export const prepare = (draft: EventDraft, makeId: () => EventId): PreparedDraft => {
  const reject = (detail: string, raw: string) => standIn(draft, makeId(), "unreadable", detail, raw)
  let data: string | undefined
  try {
    data = JSON.stringify(draft.data)
  } catch {
    return reject("The event's data can not be written as JSON", "")
  }
  if (data === undefined) return reject("The event has no data", "")
  if (!timestampPattern.test(draft.occurredAt) || Number.isNaN(Date.parse(draft.occurredAt))) {
    return reject("The event's time is not RFC 3339", data)
  }
  try {
    return preparedFrom(draft, data)
  } catch {
    return reject(`The event's data is not that of a ${draft.kind}`, data)
  }
}

const preparedFrom = (draft: EventDraft, data: string): PreparedDraft => {
  const keyParts = deriveKeyParts(draft)
  return {
    id: draft.id,
    kind: draft.kind,
    deviceId: draft.deviceId,
    occurredAt: draft.occurredAt,
    via: draft.via,
    data,
    key: keyParts === null ? null : deriveKey(keyParts.base, keyParts.chat, keyParts.sender),
    keyParts,
    content: digestContent(draft),
    projection: project(draft),
    aliases: draft.aliases.map((alias) => ({ lid: clean(canonical(alias.lid)), jid: clean(canonical(alias.jid)) })),
    bytes: data.length + overheadBytes
  }
}

const project = (draft: EventDraft): Projection | null => {
  switch (draft.kind) {
    case "message.received":
    case "message.sent": {
      const data = draft.data as MessageData
      return {
        _tag: "Message",
        id: data.messageId,
        direction: draft.kind === "message.sent" ? "out" : "in",
        waId: text(data.waId),
        chat: text(data.chat),
        sender: text(data.sender),
        type: text(data.type),
        body: data.body === null ? null : text(data.body)
      }
    }
    case "message.ack": {
      const data = draft.data as AckData
      const messageId: MessageId | null = data.messageId
      return messageId === null
        ? null
        : { _tag: "Ack", messageId, participant: text(data.participant ?? ""), status: data.status }
    }
    case "device.state": {
      const data = draft.data as DeviceStateData
      return {
        _tag: "State",
        state: JSON.stringify(data.state),
        tag: data.state._tag,
        jid: data.jid === null ? null : text(data.jid),
        phone: data.phone === null ? null : text(data.phone)
      }
    }
    default:
      return null
  }
}

interface Rejectable {
  readonly deviceId: PreparedDraft["deviceId"]
  readonly via: PreparedDraft["via"]
  readonly occurredAt: string
}

const standIn = (
  draft: Rejectable,
  id: EventId,
  reason: RejectedData["reason"],
  detail: string,
  raw: string,
  key: string | null = null
): PreparedDraft => {
  const rejected: RejectedData = { reason, detail, raw: raw.slice(0, rawMax), rawLength: raw.length }
  const data = JSON.stringify(rejected)
  return {
    id,
    kind: "frame.rejected" as EventKind,
    deviceId: draft.deviceId,
    occurredAt: timestampPattern.test(draft.occurredAt) ? draft.occurredAt : timeOfEventId(id),
    via: draft.via,
    data,
    key,
    keyParts: null,
    content: null,
    projection: null,
    aliases: [],
    bytes: data.length + overheadBytes
  }
}

/** Keeps what a store refused to take. */
export const unreadable = (draft: PreparedDraft, id: EventId, detail: string): PreparedDraft =>
  standIn(draft, id, "unreadable", detail, draft.data)

/** Keeps the other content of a known identity, itself once per content however often it is repeated. */
export const conflicting = (draft: PreparedDraft, id: EventId): PreparedDraft =>
  standIn(
    draft,
    id,
    "conflict",
    `A ${draft.kind} of this identity is in the log with other content; the first one stands`,
    draft.data,
    digest(`conflict ${draft.key} ${draft.content}`)
  )

/** A UUIDv7 begins with its time. */
const timeOfEventId = (id: EventId): string =>
  new Date(Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16)).toISOString()
