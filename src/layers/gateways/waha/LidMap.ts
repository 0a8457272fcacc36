/**
 * Which phone address a hidden id (LID) stands for, as one WAHA server tells: frames name one or the other, and only a
 * request for each hidden id, or for each phone address, tells that they are one account.
 *
 * What names an unknown hidden id waits for the answer, once: read without it, a message could come again under the phone
 * address and be taken for another one. A hidden id for which the server has no number is not asked for again for a
 * while, and stands as it is.
 *
 * What could not wait (its socket has closed, the server did not answer) is in the log under the hidden id alone. Such ids
 * are asked about once more before a history is read, whose rows name the phone address: those that have been found are
 * told with the rows, so that the log knows the message again. The other way round a frame may come after its row, and while
 * the server does not answer: so the hidden ids of the phone addresses in the rows are asked for too, and told with them. While
 * the server does not tell, the history is not read.
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
  /** Notes what it does not know and what the server could be asked for. */
  readonly finder: (target: SessionTarget) => Finder
  /** Asks about these, and returns when there are answers, or when it has taken too long. Never fails. */
  readonly resolve: (target: SessionTarget, lids: Iterable<string>) => Effect.Effect<void>
  /**
   * Asks about these hidden ids and phone addresses, and about the hidden ids under which something of a session is in the log.
   * Returns which hidden ids a phone address has turned out to have, or null while the server does not tell and may do so
   * later: what is read without it would be another message to the log. A server that never tells is not waited for beyond
   * `troubleMax`. Never fails.
   */
  readonly settle: (target: SessionTarget, addresses: Iterable<string>) => Effect.Effect<FindLids | null>
  /** As `resolve`, for callers outside of a fiber. */
  readonly resolveThen: (target: SessionTarget, lids: Iterable<string>, done: () => void) => void
}

export interface Finder {
  readonly find: FindPhone
  /** Hidden ids that were looked for and may be asked about. */
  readonly missing: ReadonlySet<string>
  /** What was read with it goes into the log as it is. */
  readonly keep: () => void
}

/** Pairs hold for good. Some 10 MB; the oldest is forgotten first and asked for again. */
const pairsMax = 100_000

/** Addresses without an answer that are remembered as such, by session: of a thousand sessions a hundred each. */
const unansweredMax = 100_000

/** Hidden ids of one session under which something is in the log. The oldest is forgotten first. */
const aloneMax = 1000

/** Sessions with such. */
const aloneSessionsMax = 10_000

/** Of one message or page under way at once: they must not be felt beside the status questions. */
const requestsMax = 4

/** The server learns pairs as contacts write, so an answer of "unknown" does not hold for long. */
const unknownFor = Duration.toMillis(Duration.minutes(10))
/** A server that did not answer is asked nothing for so long: frame after frame would wait for it otherwise. */
const troubleFor = Duration.toMillis(Duration.minutes(1))

/** A server that has told nothing for so long has no such question, or never will: histories are read all the same. */
const troubleMax = Duration.toMillis(Duration.minutes(10))

/** What may wait: a frame with its session's later ones, a webhook with its answer. The server answers from memory. */
const waitMax = Duration.seconds(3)

/** What the page of a history may wait, which nobody stands behind: it names a hundred accounts at most. */
const settleMax = Duration.seconds(10)

export const make = Effect.fnUntraced(function*(
  rest: RestClient,
  waha: Pick<WahaRest, "ask">
): Effect.fn.Return<LidMap, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const scope = yield* Effect.scope
  const context = yield* Effect.context<never>()
  const phones = new Map<string, string>()
  /** By phone address. */
  const hidden = new Map<string, string>()
  /** By session and address; monotonic time until which it is not asked again. */
  const unanswered = new Map<string, number>()
  /** By session: hidden ids under which something is in the log, without a phone address. */
  const alone = new Map<string, Map<string, true>>()
  /** Monotonic time until which the server is asked nothing. */
  let troubleUntil = 0
  /** Since when it has told nothing that it was asked; null: its last answer was one. */
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
      operation: isHidden ? "tell the phone number of a hidden id" : "tell the hidden id of a phone number",
      method: "GET",
      url: rest.at("api", target.upstreamId, "lids", ...isHidden ? [address] : ["pn", address.split("@")[0]!])
    }))
    if (answer._tag === "Failure") return yield* noteTrouble
    // A server without the question answers 404: it has no number. One that fails may have it.
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
      // Also of a server that was in trouble: it is about to answer with a history.
      return Effect.map(ask(target, asked, mayHave, settleMax), () => {
        const isTold = asked.every((address) => isKnown(address) || !mayHave(formatKey(target, address)))
        if (!isTold && troubleSince !== null && monotonicMillis(clock) - troubleSince < troubleMax) return null
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
