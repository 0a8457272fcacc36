/**
 * The structures of the `waha` dialect: the envelope of an event, message objects, and message ids. Everything is read
 * leniently: engines of WAHA differ in details, so a field of another type than expected counts as absent.
 */
import { Predicate } from "effect"
import type { Schema } from "effect"
import type { AckStatus } from "../../../domain/Message.ts"

/** Parsed JSON, unchanged. */
export type Payload = Readonly<Record<string, Schema.Json>>

export interface Envelope {
  /** The event's id: the same on the socket and in every attempt of a webhook. Old versions have none. */
  readonly id: string | null
  readonly event: string
  readonly session: string
  /** Milliseconds since the epoch; old versions have none. */
  readonly timestamp: Schema.Json | undefined
  /** The account, where the session has one. */
  readonly me: { readonly id: string; readonly lid: string | null } | null
  readonly payload: Payload
}

/** The envelope, or null. A payload that is not an object is wrapped in one: events are an open set. */
export const readEnvelope = (json: unknown): Envelope | null => {
  if (!Predicate.isObject(json)) return null
  const frame = json as Payload
  const event = textIn(frame, "event")
  const session = textIn(frame, "session")
  if (event === null || session === null || frame.payload === undefined) return null
  return {
    id: textIn(frame, "id"),
    event,
    session,
    timestamp: frame.timestamp,
    me: readAccount(frame.me),
    payload: asPayload(frame.payload) ?? { value: frame.payload }
  }
}

/** The account of a session: `me` of an envelope or of a session object. */
export const readAccount = (value: unknown): Envelope["me"] => {
  const me = asPayload(value)
  const id = me === null ? null : textIn(me, "id")
  return me === null || id === null ? null : { id, lid: textIn(me, "lid") }
}

export const asPayload = (value: unknown): Payload | null =>
  Predicate.isObject(value) && !Array.isArray(value) ? value as Payload : null

/** A nonempty text. */
export const textIn = (payload: Payload, key: string): string | null => {
  const value = payload[key]
  return typeof value === "string" && value !== "" ? value : null
}

/** The parts of a message id: `{true|false}_{chat}_{raw}[_{participant}]`. */
export interface MessageRef {
  /** WhatsApp's own id. */
  readonly waId: string
  readonly fromMe: boolean | null
  readonly chat: string | null
  readonly participant: string | null
}

/** Some routes and fields have only the raw id, without the other parts. */
export const readMessageRef = (value: unknown): MessageRef | null => {
  const text = typeof value === "string" ? value : asPayload(value)?._serialized
  if (typeof text !== "string" || text === "") return null
  const [direction, chat, ...rest] = text.split("_")
  if ((direction !== "true" && direction !== "false") || !chat?.includes("@") || rest.length === 0) {
    return { waId: text, fromMe: null, chat: null, participant: null }
  }
  const participant = rest.length > 1 && rest.at(-1)!.includes("@") ? rest.pop()! : null
  const waId = rest.join("_")
  return waId === "" ? null : { waId, fromMe: direction === "true", chat, participant }
}

const statusByAck = new Map<unknown, AckStatus>([
  [-1, "failed"],
  [0, "pending"],
  [1, "sent"],
  [2, "delivered"],
  [3, "read"],
  [4, "played"],
  ["ERROR", "failed"],
  ["PENDING", "pending"],
  ["SERVER", "sent"],
  ["DEVICE", "delivered"],
  ["READ", "read"],
  ["PLAYED", "played"]
])

/** The status that `ack`, or else its name, stands for. */
export const readAckStatus = (payload: Payload): AckStatus | null =>
  statusByAck.get(payload.ack) ?? statusByAck.get(payload.ackName) ?? null

/** Unix seconds come as a number, possibly with a fraction, or as the text of one. */
export const readSeconds = (value: Schema.Json | undefined): Schema.Json | undefined =>
  typeof value === "string" && /^\d{9,13}(\.\d{1,9})?$/.test(value) ? Number(value) : value
