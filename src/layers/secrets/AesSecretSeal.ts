/**
 * Secrets encrypted with AES-256-GCM. The first key encrypts, every key decrypts: to replace a key, put the new one first
 * and drop the old one once nothing is encrypted with it.
 *
 * A sealed text is `v1.<key id>.<nonce, ciphertext and tag in base64url>`. The key id is derived from the key, so the
 * right one is found without trying all. The place (owner and field) is authenticated with the text.
 */
import { createCipheriv, createDecipheriv, createHash, randomBytes } from "node:crypto"
import { Effect, Layer, Redacted } from "effect"
import { SecretKeyMissing } from "../../domain/GatewayErrors.ts"
import { SecretSeal, SecretUnreadable } from "../../services/SecretSeal.ts"
import type { SecretKey, SecretPlace } from "../../services/SecretSeal.ts"

/** The nonce size that GCM is defined for; random, since a key encrypts far fewer than 2^32 texts. */
const nonceBytes = 12
const tagBytes = 16

export const layer = (keys: ReadonlyArray<SecretKey>): Layer.Layer<SecretSeal> =>
  Layer.sync(SecretSeal, () => {
    const named = keys.map((key) => ({ id: makeKeyId(Redacted.value(key)), key }))
    return SecretSeal.of({
      seal: (secret, place) =>
        Effect.suspend(() => {
          const first = named[0]
          return first === undefined
            ? Effect.fail(SecretKeyMissing.instance)
            : Effect.succeed(seal(first.id, Redacted.value(first.key), Redacted.value(secret), place))
        }),
      open: (sealed, place) =>
        Effect.suspend(() => {
          const id = sealed.split(".")[1]
          const found = named.find((one) => one.id === id)
          const text = found === undefined ? null : open(Redacted.value(found.key), sealed, place)
          return text === null ? Effect.fail(SecretUnreadable.of(place)) : Effect.succeed(Redacted.make(text))
        })
    })
  })

const makeKeyId = (key: Uint8Array): string =>
  createHash("sha256").update("columba key id").update(key).digest("hex").slice(0, 16)

/** Unambiguous: neither owner nor field can hold a line feed, and a text sealed for one use cannot be opened for another. */
const describePlace = ({ field, owner }: SecretPlace): Buffer => Buffer.from(`columba secret v1\n${owner}\n${field}`)

const seal = (id: string, key: Uint8Array, secret: string, place: SecretPlace): string => {
  const nonce = randomBytes(nonceBytes)
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: tagBytes })
  cipher.setAAD(describePlace(place))
  const ciphertext = Buffer.concat([cipher.update(secret, "utf8"), cipher.final()])
  return `v1.${id}.${Buffer.concat([nonce, ciphertext, cipher.getAuthTag()]).toString("base64url")}`
}

const open = (key: Uint8Array, sealed: string, place: SecretPlace): string | null => {
  const [version, , encoded] = sealed.split(".")
  const data = Buffer.from(encoded ?? "", "base64url")
  if (version !== "v1" || data.length < nonceBytes + tagBytes) return null
  const decipher = createDecipheriv("aes-256-gcm", key, data.subarray(0, nonceBytes), { authTagLength: tagBytes })
  decipher.setAAD(describePlace(place))
  decipher.setAuthTag(data.subarray(data.length - tagBytes))
  try {
    const begin = decipher.update(data.subarray(nonceBytes, data.length - tagBytes))
    return Buffer.concat([begin, decipher.final()]).toString("utf8")
  } catch {
    return null
  }
}
