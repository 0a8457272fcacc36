/**
 * The shapes that the `bridge` and `gowa` dialects share: the envelope of an event, and what is read of each payload.
 * Fields that are not named here are not lost: the decoder still has the payload as it came.
 */
// Before any parser is made: those made earlier stay interpreted, at about 1.5 times the cost of parsing alone.
import "effect/schema/SchemaJITCompiler/enable"
import { Predicate, Schema } from "effect"
import { canonical } from "../../domain/Jid.ts"
import { readTimestamp } from "./timestamps.ts"

const identifier = Schema.String.check(Schema.isMinLength(1))

/** The fields we read. Those that may be missing are of `Text` and `Flag`. */
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

/** What gateways send; unions cost a third of the parse, so `null` for a field is left to a second look. */
const usual = makeFields(Schema.String, Schema.Boolean)
const tolerant = makeFields(Schema.NullOr(Schema.String), Schema.NullOr(Schema.Boolean))

/** Guards, because no field is decoded to anything else: a decoder would copy the payload's fields for nothing. */
const makeDecoder = <A, B>(usual: Schema.Decoder<A>, tolerant: Schema.Decoder<B>) => {
  const isUsual = Schema.is(usual)
  const isTolerant = Schema.is(tolerant)
  return (value: unknown): A | B | null => isUsual(value) || isTolerant(value) ? value : null
}

export const decodeMessage = makeDecoder(usual.message, tolerant.message)
export const decodeAction = makeDecoder(usual.action, tolerant.action)
export const decodeAck = makeDecoder(usual.ack, tolerant.ack)

/** Parsed JSON, as it came. */
export type Payload = Readonly<Record<string, Schema.Json>>

export interface Envelope {
  readonly event: string
  /** The slot or the account, as the dialect has it. */
  readonly device_id?: unknown
  /** The slot, where the gateway names the account in `device_id`. */
  readonly session_id?: unknown
  readonly timestamp?: unknown
  readonly payload: Payload
}

/** The envelope as it came, or null. By hand: a second schema per frame would cost as much as the payload's. */
export const readEnvelope = (json: unknown): Envelope | null => {
  if (!Predicate.isObject(json) || typeof json.event !== "string" || json.event === "") return null
  return Predicate.isObject(json.payload) ? json as unknown as Envelope : null
}

/** The longest text that is kept of a reason and the like, which only people read. */
const wordsMax = 200

/** A short text of the payload, cut. */
export const wordsIn = (payload: Payload, key: string): string | null => {
  const value = payload[key]
  return typeof value === "string" && value !== "" ? value.slice(0, wordsMax) : null
}

export const accountIn = (payload: Payload): string | null => {
  const jid = wordsIn(payload, "jid")
  return jid === null ? null : canonical(jid)
}

/** An hour: login codes live for minutes, and a wild claim must not keep a device waiting. */
const codeSecondsMax = 3600

export const expiryIn = (payload: Payload, now: number): string | null => {
  const seconds = payload.qr_duration ?? payload.duration
  if (typeof seconds === "number" && seconds > 0 && seconds <= codeSecondsMax) {
    return new Date(now + seconds * 1000).toISOString()
  }
  return readTimestamp(payload.expires_at)
}
