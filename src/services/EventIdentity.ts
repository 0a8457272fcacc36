/**
 * How events, messages and gaps get their ids. A message id is computed from the message's identity, so that a repeat, by
 * whichever way it comes, computes the same one; an event id is made once, when the event is first drafted.
 *
 * A message's id is its identity key in another alphabet, so the store finds a message by its identity and needs no
 * index of message ids.
 */
import { hash, randomFillSync } from "node:crypto"
import type { GapId } from "../domain/Gap.ts"
import type { DeviceId, EventId, MessageId } from "../domain/Ids.ts"
import type { EventIdentity } from "../domain/Event.ts"
import { canonical } from "../domain/Jid.ts"

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/** 128 bits as 26 characters of 5 bits each; the last two bits are zero. */
const idLength = 26

const hyphen = 0x2d

/** Separates the fields of a key. `clean` keeps it out of them, so no two identities can read alike. */
export const separator = "\u001f"

/** Control characters: never part of an address or an id, refused by text columns (NUL), or our own separator. */
// oxlint-disable-next-line no-control-regex
const control = /[\u0000-\u001f]/
// oxlint-disable-next-line no-control-regex
const everyControl = /[\u0000-\u001f]/g

export const clean = (text: string): string => control.test(text) ? text.replace(everyControl, "\ufffd") : text

/** 128 bits of SHA-256 as 32 hex digits: what a `uuid` column holds. */
export const digest = (text: string): string => hash("sha256", text, "hex").slice(0, 32)

export interface MessageIdentity {
  readonly fromMe: boolean
  readonly chat: string
  readonly sender: string
  readonly waId: string
}

/** What a key is taken over, in the parts that a store needs to compute the key of another spelling. */
export interface KeyParts {
  readonly base: string
  readonly chat: string
  readonly sender: string
}

/** The last one, because an event's key is derived twice at once: for its message id, and when the log prepares it. */
let lastIdentity = ""
let lastKey = digest(lastIdentity)

export const deriveKey = ({ base, chat, sender }: KeyParts): string => {
  const identity = `${base}${separator}${chat}${separator}${sender}`
  if (identity !== lastIdentity) {
    lastKey = digest(identity)
    lastIdentity = identity
  }
  return lastKey
}

/**
 * The identity of a message. Of a message of our own the gateway's id is enough, because this account chose it, and
 * acks name nothing else. Of a foreign one it is not: its sender chose it, so chat and sender belong to the identity.
 */
export const deriveMessageKeyParts = (deviceId: DeviceId, message: MessageIdentity): KeyParts => ({
  base: `${deviceId}${separator}message${separator}${message.fromMe ? "1" : "0"}${separator}${clean(message.waId)}`,
  chat: message.fromMe ? "" : clean(canonical(message.chat)),
  sender: message.fromMe ? "" : clean(canonical(message.sender))
})

export const deriveMessageId = (deviceId: DeviceId, message: MessageIdentity): MessageId =>
  formatMessageId(deriveKey(deriveMessageKeyParts(deviceId, message)))

/** The key of a message of the device's own account. */
export const deriveMessageKey = (deviceId: DeviceId, waId: string): string =>
  deriveKey(deriveMessageKeyParts(deviceId, { fromMe: true, chat: "", sender: "", waId }))

const letters = Buffer.from(crockford)

const hexValues = new Uint8Array(128)
for (let value = 0; value < 16; value++) hexValues[value.toString(16).charCodeAt(0)] = value

const idText = Buffer.alloc(4 + idLength)

/** The prefix of four letters, and 32 hex digits as 26 letters. Hyphens between the digits are left out. */
const formatId = (prefix: string, hex: string): string => {
  let at = idText.write(prefix)
  let bits = 0
  let count = 0
  for (let index = 0; index < hex.length; index++) {
    const code = hex.charCodeAt(index)
    if (code === hyphen) continue
    bits = ((bits << 4) | hexValues[code]!) & 0xff
    count += 4
    if (count < 5) continue
    count -= 5
    idText[at++] = letters[(bits >>> count) & 31]!
  }
  // Three bits are left, and two zeros end the last letter.
  idText[at] = letters[(bits << 2) & 31]!
  return idText.toString("latin1")
}

/** The message id of a key of 32 hex digits. */
export const formatMessageId = (key: string): MessageId => formatId("msg_", key) as MessageId

/** The key of a message id; null for an id that no key has. */
export const parseMessageId = (id: string): string | null => {
  if (id.length !== 4 + idLength || !id.startsWith("msg_")) return null
  let bits = 0n
  for (const character of id.slice(4)) {
    const value = crockford.indexOf(character)
    if (value === -1) return null
    bits = (bits << 5n) | BigInt(value)
  }
  return (bits & 3n) === 0n ? (bits >> 2n).toString(16).padStart(32, "0") : null
}

/** Random bytes are drawn for many ids at once: one draw per id would be most of what an id costs. */
const pool = Buffer.alloc(10 * 256)
let poolOffset = pool.length

/**
 * The bytes of ids are put together here, and become a text once: joined from parts, an id is a tree of five times its size
 * until something reads it.
 */
const eventIdText = Buffer.alloc(36, "-")

const hexDigits = Buffer.from("0123456789abcdef")

const putHex = (at: number, byte: number): void => {
  eventIdText[at] = hexDigits[byte >> 4]!
  eventIdText[at + 1] = hexDigits[byte & 15]!
}

/** Thousands of ids are made within one millisecond: its digits are kept. */
let millisOfText = -1

const putMillis = (millis: number): void => {
  if (millis === millisOfText) return
  const time = Math.trunc(millis).toString(16).padStart(12, "0")
  eventIdText.write(`${time.slice(0, 8)}-${time.slice(8, 12)}`)
  millisOfText = millis
}

/** A UUIDv7 for an event drafted at `now` (milliseconds): 48 bits of time, 74 random bits. */
export const makeEventId = (now: number): EventId => {
  if (poolOffset === pool.length) {
    randomFillSync(pool)
    poolOffset = 0
  }
  const at = poolOffset
  poolOffset += 10
  putMillis(now)
  putHex(14, 0x70 | (pool[at]! & 0x0f))
  putHex(16, pool[at + 1]!)
  putHex(19, 0x80 | (pool[at + 2]! & 0x3f))
  putHex(21, pool[at + 3]!)
  for (let index = 4; index < 10; index++) putHex(16 + 2 * index, pool[at + index]!)
  return eventIdText.toString("latin1") as EventId
}

/** The id of a gap that is written down at `now` (milliseconds). */
export const makeGapId = (now: number): GapId => formatId("gap_", makeEventId(now)) as GapId

/**
 * A history keeps reactions as a state and without an id of their own: who reacted to which message, with what and in
 * which second.
 */
export const identifyReaction = (
  { chat, sender }: Pick<MessageIdentity, "chat" | "sender">,
  fromMe: boolean,
  targetWaId: string,
  emoji: string,
  occurredAt: string
): EventIdentity => ({
  chat,
  sender,
  fromMe,
  waId: targetWaId,
  rank: `${Math.floor(Date.parse(occurredAt) / 1000)} ${emoji}`
})
