/**
 * The JSON envelope `{code, message, results}` in which `bridge` and `gowa` gateways answer. The envelope shows that the
 * gateway itself answers: a proxy, a load balancer or another service in its place has another format,
 * and its answer about a missing path is not about a WhatsApp slot.
 */
import { Result, Schema } from "effect"

/**
 * Codes are words in capitals (`SUCCESS`, `DEVICE_NOT_FOUND`). Other services use numbers or mixed case.
 * `results` may be absent, null or anything: each reader has its own schema for it.
 */
const Envelope = Schema.Struct({
  code: Schema.String.check(Schema.isPattern(/^[A-Z][A-Z0-9_]{0,63}$/)),
  message: Schema.String,
  results: Schema.optionalKey(Schema.Unknown)
})
export type Envelope = typeof Envelope.Type

const decode = Schema.decodeUnknownResult(Envelope)

/** The envelope, or null where the text has none. */
export const readEnvelope = (text: string | null): Envelope | null => {
  if (text === null || !text.startsWith("{")) return null
  try {
    // Half the work of a schema that parses the text itself: a reconnecting fleet gets thousands of answers.
    const envelope = decode(JSON.parse(text))
    return Result.isSuccess(envelope) ? envelope.success : null
  } catch {
    return null
  }
}

/** The gateway states that it has no such slot, with 404, or with 500 and a sentence. */
export const isUnknownSlot = (status: number, envelope: Envelope | null): boolean =>
  envelope !== null && (status === 404 || (status === 500 && /not found/i.test(envelope.message)))
