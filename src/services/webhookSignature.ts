/**
 * Signatures and secrets of Standard Webhooks (https://www.standardwebhooks.com): HMAC-SHA256 over id, time and body,
 * one signature per secret that is valid. Written here and not taken from the package of that project, which computes
 * the hash in JavaScript at five to nine times the cost. A test compares both.
 */
import { createHmac, randomBytes } from "node:crypto"
import { Redacted } from "effect"

const prefix = "whsec_"

/** Bytes of a secret: what the specification asks for, and what it recommends to make. */
const secretBytesMin = 24
const secretBytesMax = 64
const secretBytesMade = 32

export const makeSecret = (): Redacted.Redacted =>
  Redacted.make(`${prefix}${randomBytes(secretBytesMade).toString("base64")}`)

/** The key of a secret; null where the text is no secret of Standard Webhooks. */
export const readSecret = (secret: Redacted.Redacted): Uint8Array | null => {
  const text = Redacted.value(secret)
  const encoded = text.startsWith(prefix) ? text.slice(prefix.length) : ""
  const key = Buffer.from(encoded, "base64")
  return key.toString("base64") === encoded && key.length >= secretBytesMin && key.length <= secretBytesMax ? key : null
}

/** The three headers of a delivery. `seconds` is the time of the attempt. */
export const signHeaders = (
  keys: ReadonlyArray<Uint8Array>,
  id: string,
  seconds: number,
  body: Uint8Array
): Readonly<Record<string, string>> => {
  const head = `${id}.${seconds}.`
  const signatures = keys.map((key) => `v1,${createHmac("sha256", key).update(head).update(body).digest("base64")}`)
  return { "webhook-id": id, "webhook-timestamp": String(seconds), "webhook-signature": signatures.join(" ") }
}
