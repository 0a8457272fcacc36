/** Webhooks of a WAHA server: the meaning of a request, and how a session is configured to send them. */
import { Effect, Redacted } from "effect"
import { createHmac, timingSafeEqual } from "node:crypto"
import { GatewayUnavailable } from "../../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"
import { digest } from "../../../services/EventIdentity.ts"
import type { Ingest, IngestRequest, Webhook } from "../../../services/GatewayParts.ts"
import type { LidMap } from "./LidMap.ts"
import { asPayload, type Payload, textIn } from "./payloads.ts"
import { decodeBody, parseEnvelope } from "./WahaDecoder.ts"
import type { WahaRest } from "./WahaRest.ts"

/**
 * The events that we request from a server, on the socket and by webhook: everything but `message`, whose every event comes
 * as `message.any` too, `engine.event`, which is the engine's own, and deprecated ones.
 */
export const wantedEvents: ReadonlyArray<string> = [
  "session.status",
  "message.any",
  "message.reaction",
  "message.ack",
  "message.ack.group",
  "message.waiting",
  "message.edited",
  "message.revoked",
  "chat.archive",
  "group.v2.join",
  "group.v2.leave",
  "group.v2.participants",
  "group.v2.update",
  "presence.update",
  "poll.vote",
  "poll.vote.failed",
  "event.response",
  "event.response.failed",
  "label.upsert",
  "label.deleted",
  "label.chat.added",
  "label.chat.deleted",
  "call.received",
  "call.accepted",
  "call.rejected"
]

/**
 * The server's own default. With waits that double from two seconds it retries for a day: longer than any restart, and a
 * repeat is one event.
 */
const retries = { policy: "exponential", delaySeconds: 2, attempts: 15 }

export const makeIngest = (lids: LidMap): Ingest => (request, { device, find, now }) => {
  if (!isSigned(request)) return { _tag: "Refused", reason: "signature", detail: "no known secret has signed the body" }
  const text = Buffer.from(request.body).toString("utf8")
  const envelope = parseEnvelope(text)
  const target = typeof envelope === "string" ? device : find(envelope.session)
  if (target === null) {
    return typeof envelope === "string"
      ? { _tag: "Refused", reason: "unreadable", detail: "the body is not an event with a session" }
      : { _tag: "UnknownSlot", slot: envelope.session }
  }
  const { find: findPhone, keep, missing } = lids.finder(target)
  const events = decodeBody(text, envelope, { target, now, findPhone })
  const accepted = { _tag: "Accepted", deviceId: target.deviceId, events } as const
  if (missing.size === 0) keep()
  return missing.size === 0 ? accepted : { ...accepted, better: lids.resolve(target, missing) }
}

/** Over the received bytes, in constant time for each secret. */
const isSigned = ({ body, headers, secrets }: IngestRequest): boolean => {
  const algorithm = headers["x-webhook-hmac-algorithm"]
  const given = headers["x-webhook-hmac"]
  if (given === undefined || !/^[0-9a-f]{128}$/i.test(given)) return false
  if (algorithm !== undefined && algorithm.toLowerCase() !== "sha512") return false
  const signature = Buffer.from(given, "hex")
  let signed = false
  for (const secret of secrets) {
    const key = Redacted.value(secret)
    // An empty key is no secret: everybody has it.
    if (key !== "" && timingSafeEqual(createHmac("sha512", key).update(body).digest(), signature)) signed = true
  }
  return signed
}

export const makeWebhook = (name: GatewayName, rest: WahaRest): Webhook => {
  /** Written, and not seen at the server since: a server that hides or drops it must not restart the session each time. */
  const written = new Map<UpstreamId, string>()

  const ensure: Webhook["ensure"] = Effect.fn("WahaGateway.ensureWebhook")(function*(target, { secret, url }) {
    const operation = "read the session's webhooks"
    const slot = yield* rest.readSlot(operation, target.upstreamId)
    if (slot === null) return yield* GatewayUnavailable.of(name, operation, "it has no such session")
    const wanted = { url, events: wantedEvents, hmac: { key: Redacted.value(secret) }, retries }
    const set = readWebhooks(slot.config)
    const ours = set.filter((one) => isAt(one, url))
    if (ours.length === 1 && isLike(ours[0]!, wanted)) {
      written.delete(target.upstreamId)
      return "unchanged"
    }
    const entry = digest(JSON.stringify(wanted))
    if (written.get(target.upstreamId) === entry) return "unsupported"
    yield* rest.putConfig(target.upstreamId, {
      ...slot.config,
      webhooks: [...set.filter((one) => !isAt(one, url)), wanted]
    })
    written.set(target.upstreamId, entry)
    return ours.length > 0 ? "renewed" : "set"
  })

  return {
    events: wantedEvents,
    ensure,
    instructions: (url) =>
      `In the session's config.webhooks: url ${url}, events ${
        wantedEvents.join(", ")
      }, and as hmac.key the gateway's ` +
      "webhook secret; for all sessions of the server: WHATSAPP_HOOK_URL, WHATSAPP_HOOK_EVENTS and " +
      "WHATSAPP_HOOK_HMAC_KEY"
  }
}

const readWebhooks = (config: Payload): ReadonlyArray<Payload> =>
  Array.isArray(config.webhooks)
    ? config.webhooks.map(asPayload).filter((one): one is Payload => one !== null)
    : []

/** Ours is identified by its path: what follows in the address may change. */
const isAt = (one: Payload, url: string): boolean => {
  const at = textIn(one, "url")
  return at !== null && at.split("?")[0] === url.split("?")[0]
}

/** A server that does not show the key cannot be compared by it. */
const isLike = (
  one: Payload,
  wanted: { readonly url: string; readonly events: ReadonlyArray<string>; readonly hmac: { readonly key: string } }
): boolean => {
  const key = textIn(asPayload(one.hmac) ?? {}, "key")
  const events = new Set(Array.isArray(one.events) ? one.events : [])
  return one.url === wanted.url && (key === null || key === wanted.hmac.key) &&
    (events.has("*") || wanted.events.every((event) => events.has(event)))
}
