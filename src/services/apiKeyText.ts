/**
 * The text of API keys and its stored form. A key is `columba_`, the 26 characters of its id and 256 random bits in
 * hexadecimal: scanners for secrets recognise it (`keyPattern`), and a person who finds one can see which to revoke.
 *
 * The stored form is its SHA-256. A slow hash is for passwords, which can be guessed; 256 random bits cannot.
 */
import { Redacted } from "effect"
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { ApiKeyId } from "../domain/ApiKey.ts"

const secretBytes = 32

/** For scanners of secrets; documented in docs/keys.md. */
export const keyPattern = /^columba_([0-9A-Z]{26})_[0-9a-f]{64}$/

export const makeKeyText = (id: ApiKeyId): Redacted.Redacted =>
  Redacted.make(`columba_${id.slice("key_".length)}_${randomBytes(secretBytes).toString("hex")}`)

/** The id inside the key; null for a text that is no key of Columba. */
export const readKeyId = (text: string): ApiKeyId | null => {
  const id = keyPattern.exec(text)?.[1]
  return id === undefined ? null : ApiKeyId.make(`key_${id}`)
}

/** The stored digest of a key. */
export const digestKey = (text: string): Buffer => createHash("sha256").update(text).digest()

/** Takes the same time whatever the digests have in common. A value of another length is no digest. */
export const isSameDigest = (one: Uint8Array, other: Uint8Array): boolean =>
  one.length === other.length && timingSafeEqual(one, other)
