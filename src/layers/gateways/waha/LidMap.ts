/**
 * The phone addresses of hidden ids (LIDs), as one WAHA server returns them: frames contain one or the other, and only a
 * request for each hidden id, or for each phone address, shows that they are one account.
 *
 * A frame with an unknown hidden id waits for the answer, once: if it were decoded without it, a message could come again
 * under the phone address and be taken for another one. A hidden id for which the server has no number is not requested again
 * for a while, and is kept as it is.
 *
 * Frames that could not wait (their socket has closed, the server did not answer) are in the log under the hidden id alone.
 * Such ids are requested once more before a history is read, whose rows have the phone address; the found pairs are
 * recorded with the rows, so that the log recognizes the message. Conversely a frame may come after its row, and while
 * the server does not answer. So the hidden ids of the phone addresses in the rows are requested too, and recorded with them.
 * While the server does not answer these requests, the history is not read.
 */
import { Clock, Duration, Effect } from "effect"
import type { Scope } from "effect"
import { canonical, isLid } from "../../../domain/Jid.ts"
import type { SessionTarget } from "../../../services/GatewayParts.ts"
import { monotonicMillis } from "../../../services/monotonic.ts"
import type { RestClient } from "../RestClient.ts"
import { asPayload, textIn } from "./payloads.ts"
import type { FindLids, FindPhone } from "./messagePlace.ts"
import { isSuccess, type WahaRest } from "./WahaRest.ts"

export interface LidMap {
  /** Records the unknown addresses that the server could be asked for. */
  readonly finder: (target: SessionTarget) => Finder
  /** Requests these ids, and returns when there are answers, or when it has taken too long. Never fails. */
  readonly resolve: (target: SessionTarget, lids: Iterable<string>) => Effect.Effect<void>
  /**
   * Requests these hidden ids and phone addresses, and the hidden ids under which events of a session are in the log.
   * Returns the hidden ids that turned out to have a phone address, or null while the server does not answer and may do so
   * later: events decoded without it would be other messages to the log. A server that never answers is waited for up to
   * `troubleMax`. Never fails.
   */
  readonly settle: (target: SessionTarget, addresses: Iterable<string>) => Effect.Effect<FindLids | null>
  /** As `resolve`, for callers outside of a fiber. */
  readonly resolveThen: (target: SessionTarget, lids: Iterable<string>, done: () => void) => void
}

export interface Finder {
  readonly find: FindPhone
  /** Hidden ids that were looked up and may be requested. */
  readonly missing: ReadonlySet<string>
  /** The decoded events go into the log unchanged. */
  readonly keep: () => void
}

/** Pairs are permanent. Some 10 MB; the oldest is forgotten first and requested again. */
const pairsMax = 100_000

/** Maximum number of remembered addresses without an answer, by session: of a thousand sessions a hundred each. */
const unansweredMax = 100_000

/** Maximum number of hidden ids of one session with events in the log. The oldest is forgotten first. */
const aloneMax = 1000

/** Maximum number of sessions with such ids. */
const aloneSessionsMax = 10_000

/** Concurrent requests of one message or page: they must not delay the status requests noticeably. */
const requestsMax = 4

/** The server gets pairs as contacts write, so an answer of "unknown" is kept only for this time. */
const unknownFor = Duration.toMillis(Duration.minutes(10))
/** A server that did not answer gets no request for this time: otherwise every frame would wait for it. */
const troubleFor = Duration.toMillis(Duration.minutes(1))

/** A server without any answer for this time does not support the request: histories are read all the same. */
const troubleMax = Duration.toMillis(Duration.minutes(10))

/** Maximum wait of a frame with its session's later ones, or a webhook with its answer. The server answers from memory. */
const waitMax = Duration.seconds(3)

/** Maximum wait of a history's page, for which nothing else waits: it has a hundred accounts at most. */
const settleMax = Duration.seconds(10)

export const make = Effect.fnUntraced(function*(
  rest: RestClient,
  waha: Pick<WahaRest, "ask">
): Effect.fn.Return<LidMap, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const phones = new Map<string, string>()
  /** Keyed by phone address. */
  const hidden = new Map<string, string>()
  /** Keyed by session and address; monotonic time until which it is not requested again. */
  const unanswered = new Map<string, number>()
  /** Keyed by session: hidden ids with events in the log, without a phone address. */
  const alone = new Map<string, Map<string, true>>()
  /** Monotonic time until which the server gets no request. */
  let troubleUntil = 0
  /** Since when it has answered no request; null: its last request was answered. */
  let troubleSince: number | null = null

  const noteAlone = ({ upstreamId }: SessionTarget, lid: string): void => {
    const known = alone.get(upstreamId) ?? new Map<string, true>()
    known.set(lid, true)
    forgetOldest(known, aloneMax)
    alone.set(upstreamId, known)
    forgetOldest(alone, aloneSessionsMax)
  }

  const formatKey = ({ upstreamId }: SessionTarget, address: string): string => `${upstreamId} ${address}`

  const isKnown = (address: string): boolean => phones.has(address) || hidden.has(address)

  const mayHave = (key: string): boolean => monotonicMillis(clock) >= (unanswered.get(key) ?? 0)

  const mayAsk = (key: string): boolean => monotonicMillis(clock) >= troubleUntil && mayHave(key)

  const noteTrouble = Effect.sync(() => {
    const now = monotonicMillis(clock)
    troubleUntil = now + troubleFor
    troubleSince ??= now
  })

  const notePair = (lid: string, phone: string): void => {
    phones.set(lid, phone)
    hidden.set(phone, lid)
    forgetOldest(phones, pairsMax)
    forgetOldest(hidden, pairsMax)
  }

  const lookUp = Effect.fnUntraced(function*(target: SessionTarget, address: string) {
    const key = formatKey(target, address)
    const isHidden = isLid(address)
    const answer = yield* Effect.result(waha.ask({
      operation: isHidden ? "return the phone number of a hidden id" : "return the hidden id of a phone number",
      method: "GET",
      url: rest.at("api", target.upstreamId, "lids", ...isHidden ? [address] : ["pn", address.split("@")[0]!])
    }))
    if (answer._tag === "Failure") return yield* noteTrouble
    // A server without this request answers 404: it has no number. One that fails may have it.
    if (!isSuccess(answer.success) && answer.success.status !== 404) return yield* noteTrouble
    troubleSince = null
    const other = isHidden ? readPhone(answer.success.own) : readLid(answer.success.own)
    if (other === null) {
      unanswered.set(key, monotonicMillis(clock) + unknownFor)
      return forgetOldest(unanswered, unansweredMax)
    }
    unanswered.delete(key)
    if (isHidden) notePair(address, other)
    else notePair(other, address)
  })

  const ask = (
    target: SessionTarget,
    addresses: Iterable<string>,
    may: (key: string) => boolean,
    within: Duration.Duration
  ): Effect.Effect<void> =>
    Effect.suspend(() => {
      const missing = [...new Set([...addresses].map(canonical))]
        .filter((address) => !isKnown(address) && may(formatKey(target, address)))
      return Effect.forEach(missing, (address) => lookUp(target, address), {
        concurrency: requestsMax,
        discard: true
      }).pipe(Effect.timeoutOrElse({ duration: within, orElse: () => noteTrouble }))
    })

  const resolve: LidMap["resolve"] = (target, lids) => ask(target, lids, mayAsk, waitMax)

  return {
    finder: (target) => {
      const missing = new Set<string>()
      const vain = new Set<string>()
      const find: FindPhone = (lid) => {
        const phone = phones.get(lid)
        if (phone !== undefined) return phone
        if (mayAsk(formatKey(target, lid))) missing.add(lid)
        vain.add(lid)
        return null
      }
      return { find, missing, keep: () => vain.forEach((lid) => noteAlone(target, lid)) }
    },
    resolve,
    settle: (target, addresses) => {
      const asked = [...addresses, ...alone.get(target.upstreamId)?.keys() ?? []].map(canonical)
      // Also from a server that was in trouble: it is about to answer with a history.
      return Effect.map(ask(target, asked, mayHave, settleMax), () => {
        const isAnswered = asked.every((address) => isKnown(address) || !mayHave(formatKey(target, address)))
        if (!isAnswered && troubleSince !== null && monotonicMillis(clock) - troubleSince < troubleMax) return null
        const found = new Map<string, Array<string>>()
        for (const lid of alone.get(target.upstreamId)?.keys() ?? []) {
          const phone = phones.get(lid)
          if (phone === undefined) continue
          const lids = found.get(phone) ?? []
          lids.push(lid)
          found.set(phone, lids)
        }
        return (phone) => {
          const lid = hidden.get(phone)
          return [...found.get(phone) ?? [], ...lid === undefined ? [] : [lid]]
        }
      })
    },
    resolveThen: (target, lids, done) => {
      Effect.runForkWith(context)(
        Effect.forkIn(Effect.ensuring(resolve(target, lids), Effect.sync(done)), scope, { startImmediately: true })
      )
    }
  }
})

const readPhone = (body: unknown): string | null => {
  const answer = asPayload(body)
  const pn = answer === null ? null : textIn(answer, "pn")
  if (pn === null) return null
  const phone = canonical(pn.includes("@") ? pn : `${pn}@s.whatsapp.net`)
  return /^\d+@s\.whatsapp\.net$/.test(phone) ? phone : null
}

const readLid = (body: unknown): string | null => {
  const answer = asPayload(body)
  const lid = answer === null ? null : textIn(answer, "lid")
  return lid !== null && isLid(lid) ? canonical(lid) : null
}

/** Maps keep the order of insertion. */
const forgetOldest = <Key>(map: Map<Key, unknown>, max: number): void => {
  if (map.size <= max) return
  const [oldest] = map.keys()
  map.delete(oldest!)
}
