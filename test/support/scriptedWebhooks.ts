/**
 * The webhooks of the scripted gateway: the simplest dialect that has all features of webhooks. The real dialects are
 * tested with their adapters.
 */
import { createHash, createHmac, timingSafeEqual } from "node:crypto"
import { Redacted } from "effect"
import { deriveMessageId, makeEventId } from "../../src/services/EventIdentity.ts"
import type { Ingest, SessionEvent, SessionTarget } from "../../src/services/GatewayParts.ts"

/** One post. `slot` is its slot or `account` its account; without an id it is only a hint. */
export interface ScriptedPost {
  readonly slot?: string
  readonly account?: string
  /** Several posts for several messages. */
  readonly ids?: ReadonlyArray<string>
  readonly text?: string
}

export const signatureHeader = "x-hub-signature-256"

export const sign = (body: string | Uint8Array, secret: string): string =>
  `sha256=${createHmac("sha256", secret).update(body).digest("hex")}`

const verifies = (body: Uint8Array, signature: string | undefined, secret: string): boolean => {
  const expected = Buffer.from(sign(body, secret))
  const given = Buffer.from(signature ?? "")
  return given.length === expected.length && timingSafeEqual(given, expected)
}

export const scriptedIngest: Ingest = ({ body, headers, secrets }, { device, find, now }) => {
  if (!secrets.some((secret) => verifies(body, headers[signatureHeader], Redacted.value(secret)))) {
    return { _tag: "Refused", reason: "signature", detail: "no secret verifies" }
  }
  const post = parse(body)
  if (post === null) {
    return device === null
      ? { _tag: "Refused", reason: "unreadable", detail: "not JSON" }
      : { _tag: "Accepted", deviceId: device.deviceId, events: [reject(device, body, now)] }
  }
  const target = (post.slot === undefined ? null : find(post.slot)) ??
    (post.account === undefined ? null : find(post.account))
  if (target === null) return { _tag: "UnknownSlot", slot: post.slot ?? post.account ?? "" }
  const events = (post.ids ?? []).map((waId) => message(target, waId, post.text ?? waId, now))
  return {
    _tag: "Accepted",
    deviceId: target.deviceId,
    events: events.length > 0 ? events : [{ _tag: "LoggedOut", reason: "a hint" }]
  }
}

const parse = (body: Uint8Array): ScriptedPost | null => {
  try {
    return JSON.parse(Buffer.from(body).toString()) as ScriptedPost
  } catch {
    return null
  }
}

const chat = "628999000111@s.whatsapp.net"

const message = ({ deviceId }: SessionTarget, waId: string, body: string, now: number): SessionEvent => {
  const identity = { chat, sender: chat, fromMe: false, waId }
  return {
    _tag: "Record",
    draft: {
      id: makeEventId(now),
      kind: "message.received",
      deviceId,
      occurredAt: new Date(now).toISOString(),
      via: "webhook",
      data: { messageId: deriveMessageId(deviceId, identity), ...identity, type: "text", body },
      identity: { ...identity, rank: "" },
      aliases: []
    }
  }
}

const reject = ({ deviceId }: SessionTarget, body: Uint8Array, now: number): SessionEvent => ({
  _tag: "Record",
  draft: {
    id: makeEventId(now),
    kind: "frame.rejected",
    deviceId,
    occurredAt: new Date(now).toISOString(),
    via: "webhook",
    data: { reason: "not-json", detail: "not JSON", raw: Buffer.from(body).toString(), rawLength: body.length },
    identity: {
      chat: "",
      sender: "",
      fromMe: false,
      waId: createHash("sha256").update(body).digest("hex"),
      rank: ""
    },
    aliases: []
  }
})
