/**
 * The schemas that the `bridge` and `gowa` dialects share: the envelope of an event, and the fields that are read of each
 * payload. Other fields are not lost: the decoder still has the original payload.
 */
// Before any parser is created: earlier ones stay interpreted, at about 1.5 times the cost of parsing alone.
import "effect/schema/SchemaJITCompiler/enable"
import { Predicate, Schema } from "effect"
import { canonical } from "../../domain/Jid.ts"
import { readTimestamp } from "./timestamps.ts"

const identifier = Schema.String.check(Schema.isMinLength(1))

/** The fields we read. Optional ones are of `Text` and `Flag`. */
const makeFields = <Text extends Schema.Top, Flag extends Schema.Top>(textSchema: Text, flagSchema: Flag) => {
  const text = Schema.optionalKey(textSchema)
  const flag = Schema.optionalKey(flagSchema)
  const address = { chat_id: text, chat_lid: text, from: text, from_lid: text }
  return {
    message: Schema.Struct({ ...address, id: identifier, is_from_me: flag, body: text }),
    action: Schema.Struct({
      ...address,
      id: identifier,
      is_from_me: flag,
      body: text,
      reaction: text,
      reacted_message_id: text,
      original_message_id: text,
      revoked_message_id: text
    }),
    ack: Schema.Struct({ ...address, ids: Schema.Array(identifier), receipt_type: Schema.String })
  }
}

/** The usual form; unions cost a third of the parse, so a field with `null` is left to a second attempt. */
const usual = makeFields(Schema.String, Schema.Boolean)
const tolerant = makeFields(Schema.NullOr(Schema.String), Schema.NullOr(Schema.Boolean))

/** Guards, because no field is transformed: a decoder would copy the payload's fields for nothing. */
const makeDecoder = <A, B>(usual: Schema.Decoder<A>, tolerant: Schema.Decoder<B>) => {
  const isUsual = Schema.is(usual)
  const isTolerant = Schema.is(tolerant)
  return (value: unknown): A | B | null => isUsual(value) || isTolerant(value) ? value : null
}

export const decodeMessage = makeDecoder(usual.message, tolerant.message)
export const decodeAction = makeDecoder(usual.action, tolerant.action)
export const decodeAck = makeDecoder(usual.ack, tolerant.ack)

/** Parsed JSON, unchanged. */
export type Payload = Readonly<Record<string, Schema.Json>>

export interface Envelope {
  readonly event: string
  /** The slot or the account, depending on the dialect. */
  readonly device_id?: unknown
  /** The slot, where the gateway names the account in `device_id`. */
  readonly session_id?: unknown
  readonly timestamp?: unknown
  readonly payload: Payload
}

/** The envelope, unchanged, or null. By hand: a second schema per frame would cost as much as the payload's. */
export const readEnvelope = (json: unknown): Envelope | null => {
  if (!Predicate.isObject(json) || typeof json.event !== "string" || json.event === "") return null
  return Predicate.isObject(json.payload) ? json as unknown as Envelope : null
}

/** Maximum length of a reason and similar texts, which only people read. */
const shortTextMax = 200

/** A short text of the payload, cut. */
export const shortTextIn = (payload: Payload, key: string): string | null => {
  const value = payload[key]
  return typeof value === "string" && value !== "" ? value.slice(0, shortTextMax) : null
}

export const accountIn = (payload: Payload): string | null => {
  const jid = shortTextIn(payload, "jid")
  return jid === null ? null : canonical(jid)
}

/** An hour: login codes live for minutes, and an absurd claim must not keep a device waiting. */
const codeSecondsMax = 3600

export const expiryIn = (payload: Payload, now: number): string | null => {
  const seconds = payload.qr_duration ?? payload.duration
  if (typeof seconds === "number" && seconds > 0 && seconds <= codeSecondsMax) {
    return new Date(now + seconds * 1000).toISOString()
  }
  return readTimestamp(payload.expires_at)
}
