/**
 * Requests about slots, which `bridge` and `gowa` gateways answer alike: their status, whether they exist, and whether
 * the gateway answers at all.
 *
 * Only an answer in the gateway's own envelope is about a slot. A 401 in plain text is about our
 * credentials, one in the envelope about the gateway's own WhatsApp session.
 */
import { Clock, Effect, Result, Schema } from "effect"
import { canonical } from "../../domain/Jid.ts"
import type { UpstreamStatus } from "../../domain/Device.ts"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName, UpstreamId } from "../../domain/Ids.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import { type Envelope, isUnknownSlot, readEnvelope } from "./envelope.ts"
import type { RestClient } from "./RestClient.ts"

export interface SlotRest {
  readonly status: (slot: UpstreamId, known: string | null) => Effect.Effect<UpstreamStatus, GatewayUnavailable>
  readonly ensureSlot: (slot: UpstreamId) => Effect.Effect<void, GatewayUnavailable>
  readonly probe: Effect.Effect<void, GatewayUnavailable>
}

/** A gateway answers about a slot from its memory; a slower answer means a gateway in trouble. */
const questionMillis = 5000
const probeMillis = 3000

const StatusResults = Schema.Struct({ is_connected: Schema.Boolean, is_logged_in: Schema.Boolean })
const SlotResults = Schema.Struct({ jid: Schema.optionalKey(Schema.NullOr(Schema.String)) })

const decodeStatus = Schema.decodeUnknownResult(StatusResults)
const decodeSlot = Schema.decodeUnknownResult(SlotResults)

export interface Reply {
  readonly status: number
  /** Null where the answer came from something other than the gateway, or from the gateway's own framework. */
  readonly envelope: Envelope | null
}

/** The status of a slot that does not exist. */
export const unknownSlot: UpstreamStatus = { isConnected: false, isLoggedIn: false, jid: null }

export const make = (name: GatewayName, rest: RestClient): SlotRest => {
  const unavailable = (operation: string, detail: string) => GatewayUnavailable.of(name, operation, detail)

  const ask = (operation: string, method: "GET" | "POST", url: URL, body?: unknown, millis = questionMillis) =>
    Effect.map(
      rest.ask({ operation, method, url, body, millis, repeatable: method === "GET" }),
      ({ status, text }): Reply => ({
        status,
        envelope: readEnvelope(text)
      })
    )

  const refused = (operation: string, reply: Reply) => unavailable(operation, describeRefusal(reply))

  const readSlot = Effect.fnUntraced(function*(operation: string, slot: UpstreamId, millis = questionMillis) {
    const reply = yield* ask(operation, "GET", rest.at("devices", slot), undefined, millis)
    if (isUnknownSlot(reply.status, reply.envelope)) return { known: false as const, jid: null }
    const results = decodeSlot(reply.envelope?.results)
    if (reply.status !== 200 || Result.isFailure(results)) return yield* refused(operation, reply)
    const { jid } = results.success
    return { known: true as const, jid: jid ? canonical(jid) : null }
  })

  /** Null: there is no such slot. */
  const readFlags = (operation: string, slot: UpstreamId) =>
    Effect.flatMap(ask(operation, "GET", rest.at("devices", slot, "status")), (reply) => {
      if (isUnknownSlot(reply.status, reply.envelope)) return Effect.succeed(null)
      // The gateway's own session for the slot is not up. Its `jid` shows whether the slot is paired.
      if (reply.status === 401 && reply.envelope !== null) {
        return Effect.succeed({ isConnected: false, isLoggedIn: false })
      }
      const results = decodeStatus(reply.envelope?.results)
      if (reply.status !== 200 || Result.isFailure(results)) return Effect.fail(refused(operation, reply))
      return Effect.succeed({ isConnected: results.success.is_connected, isLoggedIn: results.success.is_logged_in })
    })

  // Without a span and a generator: it is called for a whole fleet at once.
  const status: SlotRest["status"] = (slot, known) =>
    Clock.clockWith((clock) => {
      const operation = "answer for the slot's status"
      const began = monotonicMillis(clock)
      return Effect.flatMap(readFlags(operation, slot), (flags): ReturnType<SlotRest["status"]> => {
        if (flags === null) return Effect.succeed(unknownSlot)
        if (known !== null && flags.isConnected && flags.isLoggedIn) return Effect.succeed({ ...flags, jid: known })
        const left = Math.max(1, Math.floor(questionMillis - (monotonicMillis(clock) - began)))
        return Effect.map(readSlot(operation, slot, left), ({ jid }) => ({ ...flags, jid }))
      })
    })

  const ensureSlot = Effect.fn("SlotRest.ensureSlot")(function*(slot: UpstreamId) {
    const operation = "create the slot"
    if ((yield* readSlot(operation, slot)).known) return
    const reply = yield* ask(operation, "POST", rest.at("devices"), { device_id: slot })
    // Creating is not idempotent at the gateway: another process may have created it first.
    if (reply.envelope !== null && reply.status >= 200 && reply.status < 300) return
    if (/already exists/i.test(reply.envelope?.message ?? "")) return
    return yield* refused(operation, reply)
  })

  // The health page is at the root of the origin and needs no credentials. Some gateways have none, and some proxies
  // forward only the base path. Then the list of slots shows that the gateway is up, by its envelope or by a request for
  // credentials. A proxy that answers in the gateway's place does neither.
  const probe = Effect.gen(function*() {
    const question = { operation: "answer at all", method: "GET", millis: probeMillis, apart: true } as const
    const health = yield* rest.ask({ ...question, url: rest.atRoot("/health") })
    if (health.status >= 200 && health.status < 300) return
    if (isGatewayAway(health.status)) return yield* unavailable(question.operation, `it answered ${health.status}`)
    const { status, text } = yield* rest.ask({ ...question, url: rest.at("devices") })
    const reply = { status, envelope: readEnvelope(text) }
    if (reply.envelope === null && status !== 401 && status !== 403) return yield* refused(question.operation, reply)
  }).pipe(Effect.timeoutOrElse({
    duration: probeMillis,
    orElse: () => Effect.fail(unavailable("answer at all", `no answer within ${probeMillis} ms`))
  }))

  return { status, ensureSlot, probe }
}

/** The answers of proxies for a gateway that is down, and of gateways that are starting. */
const isGatewayAway = (status: number): boolean => status === 502 || status === 503 || status === 504

export const describeRefusal = ({ envelope, status }: Reply): string => {
  if (envelope !== null) return `it answered ${status} ${envelope.code}`
  if (status === 401 || status === 403) return `it refused our credentials (${status})`
  if (status >= 300 && status < 400) return `it redirected us (${status}); the gateway's URL may be out of date`
  return `something else than the gateway answered ${status}; look at its URL and at proxies before it`
}
