/**
 * How events, messages and gaps get their ids. A message id is computed from the message's identity, so that a repeat,
 * however it arrives, computes the same one; an event id is made once, when the event is first drafted.
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

/** Separates the fields of a key. `clean` removes it from the fields, so two identities never have the same key. */
export const separator = "\u001f"

/** Control characters: never part of an address or an id, refused by text columns (NUL), or the separator itself. */
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

/** The parts that a key is computed from, from which a store can compute the key of another spelling. */
export interface KeyParts {
  readonly base: string
  readonly chat: string
  readonly sender: string
}

/**
 * The last identity is cached, because an event's key is derived twice in a row: for its message id, and when the log
 * prepares it.
 */
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
 * The identity of a message. For an own message the gateway's id is enough, because this account chose it, and acks
 * contain nothing else. For a foreign one it is not: its sender chose it, so chat and sender belong to the identity.
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

/** The message id of a key of 32 hex digits. */
export const formatMessageId = (key: string): MessageId => `msg_${base32(key)}` as MessageId

/** The key of a message id; null for an id that belongs to no key. */
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

/** Random bytes are drawn for many ids at once: a draw per id would be most of its cost. */
const pool = Buffer.alloc(10 * 256)
let poolOffset = pool.length

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Thousands of ids are made within one millisecond, so its digits are cached. */
let prefixMillis = -1
let prefix = ""

const formatPrefix = (millis: number): string => {
  if (millis !== prefixMillis) {
    const time = Math.trunc(millis).toString(16).padStart(12, "0")
    prefix = `${time.slice(0, 8)}-${time.slice(8, 12)}-`
    prefixMillis = millis
  }
  return prefix
}

/** A UUIDv7 for an event drafted at `now` (milliseconds): 48 bits of time, 74 random bits. */
export const makeEventId = (now: number): EventId => {
  if (poolOffset === pool.length) {
    randomFillSync(pool)
    poolOffset = 0
  }
  const at = poolOffset
  poolOffset += 10
  const hex = (index: number) => hexOfByte[pool[at + index]!]!
  const version = hexOfByte[0x70 | (pool[at]! & 0x0f)]! + hex(1)
  const variant = hexOfByte[0x80 | (pool[at + 2]! & 0x3f)]! + hex(3)
  const chance = hex(4) + hex(5) + hex(6) + hex(7) + hex(8) + hex(9)
  return `${formatPrefix(now)}${version}-${variant}-${chance}` as EventId
}

/** The id of a gap that is recorded at `now` (milliseconds). */
export const makeGapId = (now: number): GapId => `gap_${base32(makeEventId(now).replaceAll("-", ""))}` as GapId

const hexValues = new Uint8Array(128)
for (let value = 0; value < 16; value++) hexValues[value.toString(16).charCodeAt(0)] = value

/** Two characters at a time: the text of ten bits. */
const pairs = Array.from({ length: 1024 }, (_, bits) => `${crockford[bits >> 5]}${crockford[bits & 31]}`)

/** 32 hex digits as 26 characters. */
const base32 = (hex: string): string => {
  let text = ""
  let bits = 0
  let count = 0
  for (let index = 0; index < 32; index++) {
    bits = (bits << 4) | hexValues[hex.charCodeAt(index)]!
    count += 4
    if (count < 10) continue
    count -= 10
    text += pairs[bits >>> count]
    bits &= (1 << count) - 1
  }
  // Eight bits are left, and two zeros complete the last character.
  return text + pairs[bits << 2]
}

/**
 * A history contains reactions as a state and without an id of their own, so the key is made of who reacted to which
 * message, with what and in which second.
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
