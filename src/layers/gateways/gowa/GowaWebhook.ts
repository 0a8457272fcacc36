/**
 * GOWA's webhooks. Deliveries come in any order, and again when our answer was lost, without a delivery id:
 * an event is identified by its content, and one without identifying content by its bytes.
 */
import { createHmac, timingSafeEqual } from "node:crypto"
import { Redacted } from "effect"
import { canonical } from "../../../domain/Jid.ts"
import { makeEventId } from "../../../services/EventIdentity.ts"
import type {
  Ingest,
  IngestContext,
  IngestRequest,
  IngestResult,
  SessionEvent,
  SessionTarget
} from "../../../services/GatewayParts.ts"
import { type Frame, readEvent, rejected } from "../eventDecoder.ts"
import { type Envelope, readEnvelope } from "../eventPayloads.ts"
import { rejectDefective, repeatableOrigin } from "../rejects.ts"

const signaturePattern = /^sha256=([0-9a-f]{64})$/

export const ingest: Ingest = (request, context) => {
  const refusal = verify(request)
  return refusal === null ? read(Buffer.from(request.body).toString("utf8"), context) : refuseSignature(refusal)
}

const refuseSignature = (detail: string): IngestResult => ({ _tag: "Refused", reason: "signature", detail })

/** Why the signature is invalid, or null. Every secret is tried, so that the time does not reveal which one is right. */
const verify = ({ body, headers, secrets }: IngestRequest): string | null => {
  if (secrets.length === 0) return "no secret is known for it"
  const given = signaturePattern.exec(headers["x-hub-signature-256"] ?? "")
  if (given === null) return "the header X-Hub-Signature-256 is missing or is not sha256=<hex>"
  const signature = Buffer.from(given[1]!, "hex")
  let holds = false
  for (const secret of secrets) {
    const expected = createHmac("sha256", Redacted.value(secret)).update(body).digest()
    holds = timingSafeEqual(expected, signature) || holds
  }
  return holds ? null : "the signature does not match the body"
}

const read = (text: string, context: IngestContext): IngestResult => {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    return unreadable(text, context, "not-json", "the body is not JSON")
  }
  const envelope = readEnvelope(json)
  if (envelope === null) {
    return unreadable(text, context, "not-an-event", "the body is not an object with event and payload")
  }
  const account = readName(envelope.device_id)
  const name = readName(envelope.session_id) ?? account
  if (name === null && context.device === null) {
    return unreadable(text, context, "not-an-event", "the body names neither a slot nor an account")
  }
  // A named slot that is not found stays so: the same account may be linked to another slot, which is ours.
  const target = name === null ? context.device : context.find(name)
  return target === null
    ? { _tag: "UnknownSlot", slot: name ?? "" }
    : accept(text, envelope, target, account, context.now)
}

const accept = (
  text: string,
  envelope: Envelope,
  target: SessionTarget,
  account: string | null,
  now: number
): IngestResult => {
  const jid = account !== null && account.includes("@") ? canonical(account) : null
  const known = { ...target, jid: jid ?? target.jid }
  const frame: Frame = { text, target: known, now, makeId: makeEventId, origin: repeatableOrigin("webhook", text) }
  const events = decode(frame, envelope)
  return {
    _tag: "Accepted",
    deviceId: target.deviceId,
    events: jid === null || jid === target.jid ? events : [...events, { _tag: "StatusHint" }]
  }
}

/** A defect in the decoder costs only this body, and does not make the gateway post it forever. */
const decode = (frame: Frame, envelope: Envelope): ReadonlyArray<SessionEvent> => {
  try {
    return readEvent(frame, envelope)
  } catch (defect) {
    return [rejectDefective(frame.text, frame.target, frame.now, defect, frame.origin)]
  }
}

const unreadable = (
  text: string,
  { device, now }: IngestContext,
  reason: "not-json" | "not-an-event",
  detail: string
): IngestResult => {
  if (device === null) return { _tag: "Refused", reason: "unreadable", detail }
  const frame: Frame = { text, target: device, now, makeId: makeEventId, origin: repeatableOrigin("webhook", text) }
  return { _tag: "Accepted", deviceId: device.deviceId, events: [rejected(frame, reason, detail)] }
}

const readName = (value: unknown): string | null => typeof value === "string" && value !== "" ? value : null
