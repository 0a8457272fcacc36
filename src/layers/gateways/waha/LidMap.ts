/**
 * Which phone address a hidden id (LID) stands for, as one WAHA server tells: frames name one or the other, and only a
 * request for each hidden id tells that they are one account.
 *
 * Decoding does not wait for an answer. A frame with an unknown hidden id is recorded as it is, the server is asked, and
 * the answer is recorded too (`gateway.lid`), so that the log joins both spellings. What reads the history waits.
 */
import { Clock, Duration, Effect, Latch } from "effect"
import type { Scope } from "effect"
import type { DeviceId } from "../../../domain/Ids.ts"
import { canonical } from "../../../domain/Jid.ts"
import { makeEventId } from "../../../services/EventIdentity.ts"
import type { SessionEvent, SessionListener, SessionTarget } from "../../../services/GatewayParts.ts"
import { monotonicMillis } from "../../../services/monotonic.ts"
import type { RestClient } from "../RestClient.ts"
import { asPayload, textIn } from "./payloads.ts"
import type { FindPhone } from "./WahaDecoder.ts"
import { isSuccess, type WahaRest } from "./WahaRest.ts"

export interface LidMap {
  /** Asks the server about what it does not know. */
  readonly finder: (target: SessionTarget) => FindPhone
  /** Asks about these and about all that the session is still waiting for, and returns when there are answers. */
  readonly resolve: (target: SessionTarget, lids: Iterable<string>) => Effect.Effect<void>
  /** The listener that a session is to be opened with: it hears the answers too, until its end. */
  readonly attach: (target: SessionTarget, listener: SessionListener) => Attached
}

export interface Attached {
  readonly listener: SessionListener
  /** For a session that could not be opened. */
  readonly detach: () => void
}

/** Pairs hold for good. Some 10 MB; the oldest is forgotten first and asked for again. */
const pairsMax = 100_000

/** Hidden ids that a burst of traffic may bring before the server has answered. Beyond that they are asked for later. */
const waitingMax = 4096

/** Hidden ids without an answer that are remembered as such. */
const unansweredMax = 10_000

/** Requests under way at once: they must not be felt beside the status questions. */
const requestsMax = 2

/** The server learns pairs as contacts write, so an answer of "unknown" does not hold for long. */
const unknownFor = Duration.toMillis(Duration.minutes(10))
const unavailableFor = Duration.toMillis(Duration.seconds(30))

export const make = Effect.fnUntraced(function*(
  rest: RestClient,
  { ask }: Pick<WahaRest, "ask">
): Effect.fn.Return<LidMap, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const phones = new Map<string, string>()
  /** By session and hidden id; monotonic time until which it is not asked again. */
  const unanswered = new Map<string, number>()
  const waiting = new Map<string, { readonly target: SessionTarget; readonly lid: string }>()
  const listeners = new Map<DeviceId, SessionListener>()
  const someWaiting = Latch.makeUnsafe()

  const keyOf = ({ upstreamId }: SessionTarget, lid: string): string => `${upstreamId} ${lid}`

  const mayAsk = (key: string): boolean => {
    const until = unanswered.get(key)
    return until === undefined || monotonicMillis(clock) >= until
  }

  const want = (target: SessionTarget, lid: string): void => {
    const key = keyOf(target, lid)
    if (waiting.has(key) || waiting.size >= waitingMax || !mayAsk(key)) return
    waiting.set(key, { target, lid })
    someWaiting.openUnsafe()
  }

  const find = (target: SessionTarget, lid: string): string | null => {
    const phone = phones.get(lid)
    if (phone === undefined) want(target, lid)
    return phone ?? null
  }

  const learn = (target: SessionTarget, lid: string, phone: string): void => {
    phones.set(lid, phone)
    forgetOldest(phones, pairsMax)
    listeners.get(target.deviceId)?.onEvent(pairEvent(target, lid, phone, clock.currentTimeMillisUnsafe()))
  }

  const lookUp = Effect.fnUntraced(function*(target: SessionTarget, lid: string) {
    const key = keyOf(target, lid)
    const answer = yield* Effect.result(ask({
      operation: "tell the phone number of a hidden id",
      method: "GET",
      url: rest.at("api", target.upstreamId, "lids", lid)
    }))
    const phone = answer._tag === "Success" && isSuccess(answer.success) ? readPhone(answer.success.own) : null
    waiting.delete(key)
    if (phone !== null) {
      unanswered.delete(key)
      return learn(target, lid, phone)
    }
    unanswered.set(key, monotonicMillis(clock) + (answer._tag === "Success" ? unknownFor : unavailableFor))
    forgetOldest(unanswered, unansweredMax)
  })

  const worker = Effect.suspend(() => {
    const [next] = waiting
    if (next === undefined) {
      someWaiting.closeUnsafe()
      return someWaiting.await
    }
    const [key, { lid, target }] = next
    waiting.delete(key)
    return phones.has(lid) ? Effect.void : lookUp(target, lid)
  })
  for (let place = 0; place < requestsMax; place++) yield* Effect.forkScoped(Effect.forever(worker))

  return {
    finder: (target) => (lid) => find(target, lid),
    resolve: (target, lids) =>
      Effect.suspend(() => {
        const wanted = new Set([...lids].map(canonical))
        for (const one of waiting.values()) if (one.target.upstreamId === target.upstreamId) wanted.add(one.lid)
        const missing = [...wanted].filter((lid) => !phones.has(lid) && mayAsk(keyOf(target, lid)))
        return Effect.forEach(missing, (lid) => lookUp(target, lid), { concurrency: requestsMax, discard: true })
      }),
    attach: (target, listener) => {
      const detach = () => {
        if (listeners.get(target.deviceId) === attached) listeners.delete(target.deviceId)
      }
      const attached: SessionListener = {
        onEvent: (event) => listener.onEvent(event),
        onEnd: (failure) => {
          detach()
          listener.onEnd(failure)
        }
      }
      listeners.set(target.deviceId, attached)
      return { listener: attached, detach }
    }
  }
})

/** The server's answer, as an event that joins both spellings wherever they occur. */
const pairEvent = (target: SessionTarget, lid: string, phone: string, now: number): SessionEvent => ({
  _tag: "Record",
  draft: {
    id: makeEventId(now),
    kind: "gateway.lid",
    deviceId: target.deviceId,
    occurredAt: new Date(now).toISOString(),
    via: "live",
    data: { lid, pn: phone },
    identity: { chat: lid, sender: phone, fromMe: false, waId: "lid", rank: "" },
    aliases: [{ lid, jid: phone }]
  }
})

const readPhone = (body: unknown): string | null => {
  const answer = asPayload(body)
  const pn = answer === null ? null : textIn(answer, "pn")
  if (pn === null) return null
  const phone = canonical(pn.includes("@") ? pn : `${pn}@s.whatsapp.net`)
  return /^\d+@s\.whatsapp\.net$/.test(phone) ? phone : null
}

/** Maps keep the order of insertion. */
const forgetOldest = <Key>(map: Map<Key, unknown>, max: number): void => {
  if (map.size <= max) return
  const [oldest] = map.keys()
  map.delete(oldest!)
}
