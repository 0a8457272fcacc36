/**
 * Seals secrets before they are stored, and opens them again. A sealed text is bound to its place (the gateway and the
 * field): copied into another row or field it cannot be opened.
 */
import { Context, Redacted, Schema } from "effect"
import type { Effect } from "effect"
import type { SecretKeyMissing } from "../domain/GatewayErrors.ts"

/** Where a secret belongs. */
export interface SecretPlace {
  readonly owner: string
  readonly field: string
}

/** No key of this process opens the text, or the text was changed or moved. These cases cannot be distinguished. */
export class SecretUnreadable extends Schema.TaggedError<SecretUnreadable>()("SecretUnreadable", {
  message: Schema.String
}) {
  static of({ field, owner }: SecretPlace): SecretUnreadable {
    return new SecretUnreadable({ message: `The sealed ${field} of '${owner}' does not open with the keys at hand` })
  }
}

export class SecretSeal extends Context.Service<SecretSeal, {
  readonly seal: (secret: Redacted.Redacted, place: SecretPlace) => Effect.Effect<string, SecretKeyMissing>
  readonly open: (sealed: string, place: SecretPlace) => Effect.Effect<Redacted.Redacted, SecretUnreadable>
}>()("columba/services/SecretSeal") {}

export type SecretKey = Redacted.Redacted<Uint8Array>

export const secretKeyBytes = 32

/** The keys of a comma list of base64 texts. Null if there is none, or one is not 32 bytes. */
export const parseSecretKeys = (text: string): ReadonlyArray<SecretKey> | null => {
  const texts = text.split(",").map((one) => one.trim()).filter((one) => one !== "")
  const keys = texts.map((one) => /^[A-Za-z0-9+/_-]+={0,2}$/.test(one) ? Buffer.from(one, "base64") : Buffer.alloc(0))
  return keys.length > 0 && keys.every((key) => key.length === secretKeyBytes)
    ? keys.map((key) => Redacted.make<Uint8Array>(key))
    : null
}
