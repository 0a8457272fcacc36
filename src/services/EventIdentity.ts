/**
 * How events and messages get their ids. A message id is computed from the message's identity, so that a repeat, by
 * whichever way it comes, computes the same one; an event id is made once, when the event is first drafted.
 */
import { hash, randomFillSync } from "node:crypto"
import type { DeviceId, EventId, MessageId } from "../domain/Ids.ts"

const crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/** 26 characters of 5 bits: 130 bits of the digest, which is out of reach of chance and of search. */
const idLength = 26

export interface MessageIdentity {
  readonly fromMe: boolean
  readonly chat: string
  readonly sender: string
  readonly waId: string
}

/**
 * The id of a message. Of a message of our own the gateway's id is enough, because this account chose it, and acks
 * name nothing else. Of a foreign one it is not: its sender chose it, so chat and sender belong to the identity.
 */
export const deriveMessageId = (deviceId: DeviceId, message: MessageIdentity): MessageId => {
  const identity = message.fromMe
    ? [deviceId, message.waId]
    : [deviceId, message.chat, message.sender, message.waId]
  return `msg_${base32(hash("sha256", JSON.stringify(identity), "buffer"))}` as MessageId
}

/** Random bytes are drawn for many ids at once: one draw an id would be most of what an id costs. */
const pool = Buffer.alloc(10 * 256)
let poolOffset = pool.length

const hexOfByte = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"))

/** Thousands of ids are made within one millisecond: its digits are kept. */
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

/** A UUIDv7 for an event drafted at `now` (milliseconds): 48 bits of time, 74 of chance. */
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

const base32 = (bytes: Buffer): string => {
  let text = ""
  let bits = 0
  let count = 0
  for (let index = 0; text.length < idLength; index++) {
    bits = (bits << 8) | bytes[index]!
    count += 8
    while (count >= 5 && text.length < idLength) {
      count -= 5
      text += crockford[(bits >>> count) & 31]
    }
    bits &= (1 << count) - 1
  }
  return text
}
