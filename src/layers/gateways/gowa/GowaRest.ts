/**
 * GOWA's requests besides those of every gateway with its envelope (`SlotRest`): the list of slots, a slot's
 * webhook, and reconnecting.
 *
 * Requests about WhatsApp itself name the slot in the header `X-Device-Id`, which GOWA unescapes as a query.
 */
import { Effect, Redacted, Result, Schema } from "effect"
import type { UpstreamStatus } from "../../../domain/Device.ts"
import { GatewayUnavailable } from "../../../domain/DeviceErrors.ts"
import { canonical } from "../../../domain/Jid.ts"
import type { GatewayName, UpstreamId } from "../../../domain/Ids.ts"
import type { Start, Webhook } from "../../../services/GatewayParts.ts"
import { isUnknownSlot, readEnvelope } from "../envelope.ts"
import type { RestClient } from "../RestClient.ts"
import { describeRefusal, type Reply, type SlotRest, unknownSlot } from "../SlotRest.ts"

export interface ListedSlot {
  readonly id: UpstreamId
  readonly state: string
  /** Null: no account. */
  readonly jid: string | null
}

export interface GowaRest {
  readonly ask: (question: Question) => Effect.Effect<Reply, GatewayUnavailable>
  /** The failure that the answer means. */
  readonly refused: (operation: string, reply: Reply) => GatewayUnavailable
  readonly status: (slot: UpstreamId, known: string | null) => Effect.Effect<UpstreamStatus, GatewayUnavailable>
  readonly list: Effect.Effect<Result.Result<ReadonlyArray<ListedSlot>, Reply>, GatewayUnavailable>
  readonly ensureWebhook: Webhook["ensure"]
  readonly start: Start
}

export interface Question {
  readonly operation: string
  readonly method: "GET" | "POST" | "PATCH"
  readonly url: URL
  /** The slot of a request that GOWA scopes by header. */
  readonly slot?: UpstreamId
  readonly body?: unknown
  readonly millis?: number
}

/** Lists and statuses come from GOWA's memory; a slower answer means a gateway in trouble. */
const questionMillis = 5000
/** GOWA's own limit is 45 s, and only then it reports that the dial failed. */
const dialMillis = 50_000

/**
 * All events that GOWA has. Each is named: the list has no wildcard, and an empty one leaves the choice to the
 * gateway's global list, which may leave messages out.
 */
export const webhookEvents: ReadonlyArray<string> = [
  "message",
  "message.reaction",
  "message.revoked",
  "message.edited",
  "message.deleted",
  "message.ack",
  "chat_presence",
  "group.participants",
  "group.joined",
  "label.edit",
  "label.association",
  "newsletter.joined",
  "newsletter.left",
  "newsletter.message",
  "newsletter.mute",
  "call.offer"
]

const text = Schema.optionalKey(Schema.NullOr(Schema.String))

const decodeSlots = Schema.decodeUnknownResult(
  Schema.NullOr(Schema.Array(Schema.Struct({ id: Schema.String, state: text, jid: text })))
)
const decodeStatus = Schema.decodeUnknownResult(
  Schema.Struct({ is_connected: Schema.Boolean, is_logged_in: Schema.Boolean, jid: Schema.String })
)
const decodeWebhook = Schema.decodeUnknownResult(
  Schema.Struct({
    webhook_url: text,
    webhook_secret: text,
    webhook_events: text,
    webhook_insecure_skip_verify: Schema.optionalKey(Schema.NullOr(Schema.Boolean))
  })
)

export const make = (name: GatewayName, rest: RestClient, slots: SlotRest): GowaRest => {
  const ask = ({ millis = questionMillis, slot, ...question }: Question) =>
    Effect.map(
      rest.ask({
        ...question,
        millis,
        headers: slot === undefined ? {} : { "x-device-id": encodeURIComponent(slot) }
      }),
      ({ status, text }): Reply => ({ status, envelope: readEnvelope(text) })
    )

  const refused = (operation: string, reply: Reply) => GatewayUnavailable.of(name, operation, describeRefusal(reply))

  /**
   * One request that also returns the account, because a lost connection is not announced and so every device is
   * polled often. Where the answer lacks the account, as with older versions, the slot's status is requested the common way.
   */
  const status = Effect.fn("GowaGateway.status")(function*(slot: UpstreamId, known: string | null) {
    const operation = "answer for the slot's status"
    const reply = yield* ask({ operation, method: "GET", url: rest.at("app", "status"), slot })
    if (isUnknownSlot(reply.status, reply.envelope)) return unknownSlot
    const results = decodeStatus(reply.envelope?.results)
    if (reply.status !== 200 || Result.isFailure(results)) return yield* slots.status(slot, known)
    const { is_connected, is_logged_in, jid } = results.success
    return { isConnected: is_connected, isLoggedIn: is_logged_in, jid: jid === "" ? null : canonical(jid) }
  })

  const list = Effect.gen(function*() {
    const reply = yield* ask({ operation: "list its slots", method: "GET", url: rest.at("devices") })
    const listed = decodeSlots(reply.envelope?.results ?? null)
    if (reply.status !== 200 || reply.envelope === null || Result.isFailure(listed)) return Result.fail(reply)
    return Result.succeed((listed.success ?? []).map(({ id, jid, state }): ListedSlot => ({
      id: id as UpstreamId,
      state: state ?? "",
      jid: jid ? canonical(jid) : null
    })))
  })

  /** Slots whose webhook may have been set by an unanswered request: it was not set before. */
  const unanswered = new Set<UpstreamId>()

  const ensureWebhook: Webhook["ensure"] = Effect.fn("GowaGateway.ensureWebhook")(function*({ upstreamId }, address) {
    const operation = "set the slot's webhook"
    const url = rest.at("devices", upstreamId, "webhook")
    const reply = yield* ask({ operation, method: "GET", url })
    // Before 8.10 there is no such path: the answer is the framework's own, or about something other than the slot.
    if (reply.status === 404 && reply.envelope === null) return "unsupported"
    const held = decodeWebhook(reply.envelope?.results)
    if (reply.status !== 200 || Result.isFailure(held)) return yield* refused(operation, reply)
    const wanted = {
      webhook_url: address.url,
      webhook_secret: Redacted.value(address.secret),
      webhook_events: webhookEvents.join(","),
      // The operator's choice, for a certificate of their own; fields that the request lacks are reset.
      webhook_insecure_skip_verify: held.success.webhook_insecure_skip_verify ?? false
    }
    const { webhook_events, webhook_secret, webhook_url } = held.success
    if (
      webhook_url === wanted.webhook_url && webhook_secret === wanted.webhook_secret &&
      webhook_events === wanted.webhook_events
    ) return unanswered.delete(upstreamId) ? "set" : "unchanged"
    const postedHere = webhook_url === wanted.webhook_url
    if (!postedHere) unanswered.add(upstreamId)
    const written = yield* ask({ operation, method: "PATCH", url, body: wanted })
    if (written.status !== 200 || written.envelope === null) return yield* refused(operation, written)
    unanswered.delete(upstreamId)
    return postedHere ? "renewed" : "set"
  })

  // Reconnecting drops a connected socket, so the status is requested first.
  const start: Start = Effect.fn("GowaGateway.start")(function*({ upstreamId }) {
    const { isConnected, jid } = yield* status(upstreamId, null)
    if (isConnected || jid === null) return
    const operation = "reconnect the slot"
    const reply = yield* ask({
      operation,
      method: "GET",
      url: rest.at("app", "reconnect"),
      slot: upstreamId,
      millis: dialMillis
    })
    if (reply.status === 200 && reply.envelope !== null) return
    if (isUnknownSlot(reply.status, reply.envelope)) return
    return yield* refused(operation, reply)
  })

  return { ask, refused, status, list, ensureWebhook, start }
}
