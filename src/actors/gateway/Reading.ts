/**
 * One reading of a device's history: which window it has, which of its rows prove what, and what the device's gaps come
 * to when it is complete. Pure; `Backfill` carries readings out.
 *
 * The window ends with the moment at which the reading began, by the database's clock, and so does the watermark that
 * follows from it. It is never taken from a row: the sender's clock is in the rows, and a message that claims to be of
 * next year must not keep later readings from looking at this one.
 */
import type { EventDraft } from "../../domain/Event.ts"
import { provables } from "../../domain/Gap.ts"
import type { GapId, Provable } from "../../domain/Gap.ts"
import type { History, HistoryWindow } from "../../services/GatewayParts.ts"
import type { EndedGap, GapState, Judgement, TrackedGap } from "../device/GapTracker.ts"
import { transitMax } from "../device/hearing.ts"

/**
 * `connect`: reception is back. `look`: only the newest messages, because a device is silent. `schedule`: in case something
 * was lost that nothing has noticed. `sweep`: the same, further back.
 */
export type ReadingKind = "connect" | "look" | "schedule" | "sweep"

export interface Reading {
  readonly kind: ReadingKind
  readonly from: number
  /** When it began: what it proves, it proves through this moment. */
  readonly through: number
  readonly window: HistoryWindow
  /** Acks are proven of gaps that began then or later. */
  readonly acksSince: number
  /** Rows that claim to be newer are left for the next reading: they are probably on their way. */
  readonly newest: number
  /** Where it stands; null before the first page. */
  page: string | null
  pages: number
  /** Rows that were new to the log: in all, and by the gap that they belong to. */
  fresh: number
  readonly recovered: Map<GapId, number>
  /**
   * Gaps that last longer than was written down: a message of a moment after the end had not come either. The clocks may
   * differ, or the session that ended the gap was deaf: in neither case is that moment proven.
   */
  readonly ends: Map<GapId, number>
  /** Rows that are older than every gap, by the gap that was the first then: they were counted for it. */
  readonly early: Map<GapId, number>
  /** Rows were left out because they are probably on their way. */
  young: boolean
  /** Nothing was read before, and nothing was missed since: what is older than the hearing was never promised. */
  readonly isFirst: boolean
  /** The times of messages of other accounts that were new, are in no gap, and are older than the hearing that lasts. */
  readonly odd: Array<number>
}

/** Rows may carry a time that is ahead of ours by as much as the gateway's clock is. */
const clockAheadMax = 10 * 60_000

/** A look begins this long before the time through which all was heard: what it finds before is known. */
const lookOverlap = 60_000

/** What is younger is probably on its way, and the next reading finds it if not. */
const youngMax = 5000

export interface Begin {
  readonly kind: ReadingKind
  readonly now: number
  readonly gaps: GapState
  readonly watermark: number | null
  /** Nothing older is read. */
  readonly floor: number
  /** Through when all messages have come, as far as the way by which they come tells, or the last reading. */
  readonly heardThrough: number
  readonly overlap: number
  /** So long before a gap a reading begins that is to prove acks: they come long after their messages. */
  readonly ackReach: number
  /** Whether the history has acks. */
  readonly hasAcks: boolean
  readonly sweep: number
  /** How far the clocks may differ. */
  readonly skew: number
}

export const begin = (begin: Begin): Reading => {
  const { floor, gaps, kind, now, watermark } = begin
  const oldestGap = gaps.gaps.reduce((oldest, { openedAt }) => Math.min(oldest, openedAt), Number.POSITIVE_INFINITY)
  const lastEnd = gaps.gaps.reduce((latest, { endedAt }) => Math.max(latest, endedAt ?? 0), 0)
  // A clock that was set back leaves a watermark in the future; a gap may be older than the watermark.
  const known = Math.min(
    Math.min(watermark ?? floor, oldestGap, now) - begin.overlap,
    begin.hasAcks ? oldestGap - begin.ackReach : now
  )
  const wanted = kind === "look"
    ? Math.min(begin.heardThrough, now) - lookOverlap
    : kind === "sweep"
    ? Math.min(known, now - begin.sweep)
    : known
  const from = Math.min(now, Math.max(wanted, floor))
  return {
    kind,
    from,
    through: now,
    window: { from: iso(from), to: iso(now + clockAheadMax) },
    // Messages that are older than everything that is kept have no acks that could be missed.
    acksSince: from <= floor ? Number.NEGATIVE_INFINITY : from + begin.ackReach,
    newest: Math.max(now - youngMax, lastEnd === 0 ? 0 : lastEnd + begin.skew),
    page: null,
    pages: 0,
    fresh: 0,
    recovered: new Map(),
    ends: new Map(),
    early: new Map(),
    young: false,
    isFirst: watermark === null && gaps.gaps.length === 0,
    odd: []
  }
}

const iso = (at: number): string => new Date(at).toISOString()

/** The drafts of a page that the log may have: none older than it keeps, and none that are probably on their way. */
export const selectRows = (
  reading: Reading,
  drafts: ReadonlyArray<EventDraft>,
  floor: number
): ReadonlyArray<EventDraft> => {
  return drafts.filter(({ occurredAt }) => {
    const at = Date.parse(occurredAt)
    if (at > reading.newest) reading.young = true
    return at >= floor && at <= reading.newest
  })
}

/** Whether a message is of a kind that every session delivers: written by another account, in a chat of people. */
export const isTelling = (draft: EventDraft): draft is Extract<EventDraft, { readonly kind: "message.received" }> =>
  draft.kind === "message.received" && isHeardChat(draft.data.chat)

export const isHeardChat = (chat: string): boolean => /@(s\.whatsapp\.net|lid|g\.us)$/.test(chat)

/** Takes a row into account that was new to the log. Returns whether it should have come live. `skew` in milliseconds. */
export const count = (reading: Reading, gaps: GapState, draft: EventDraft, skew: number): boolean => {
  reading.fresh++
  const at = Date.parse(draft.occurredAt)
  const first = gaps.gaps[0]
  if (first !== undefined) {
    const of = gaps.gaps.findLast(({ openedAt }) => openedAt <= at) ?? first
    reading.recovered.set(of.id, (reading.recovered.get(of.id) ?? 0) + 1)
    if (at < first.openedAt) reading.early.set(first.id, (reading.early.get(first.id) ?? 0) + 1)
    if (of.endedAt !== null && at > of.endedAt && at <= of.endedAt + skew && isTelling(draft)) {
      const known = reading.ends.get(of.id) ?? of.endedAt
      reading.ends.set(of.id, Math.max(known, Math.min(reading.through, at + transitMax)))
    }
  }
  const isSuspect = isSuspicious(gaps, draft, at, skew)
  if (
    !isSuspect && isTelling(draft) && !reading.isFirst && reading.odd.length < oddMax && !isNamed(gaps.gaps, at, skew)
  ) {
    reading.odd.push(at)
  }
  return isSuspect
}

/** A few hundred of them tell as much as all. */
const oddMax = 1000

/** Whether a message of this time may have been lost in one of these gaps. */
export const isNamed = (
  gaps: ReadonlyArray<Pick<TrackedGap, "endedAt" | "openedAt">>,
  at: number,
  skew: number
): boolean =>
  gaps.some(({ endedAt, openedAt }) =>
    // Reception was proven until this long after the beginning that is written down.
    openedAt + transitMax - secondResolution <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY) + skew
  )

const isSuspicious = (gaps: GapState, draft: EventDraft, at: number, skew: number): boolean => {
  if (gaps.hearingSince === null || !isTelling(draft)) return false
  // What is close to the end of a gap may be of the gap, where the clocks differ. A gap may lie within the hearing.
  const isOfGap = gaps.gaps.some(({ endedAt, openedAt }) =>
    openedAt - secondResolution <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY) + skew
  )
  return !isOfGap && at > gaps.hearingSince + skew
}

/** Times of WhatsApp have whole seconds. */
const secondResolution = 1000

/** Rows that are older than every gap turn out to be of a gap that was found by them. */
export const assignEarly = ({ early, recovered }: Pick<Reading, "early" | "recovered">, found: GapId): void => {
  let sum = 0
  // Which gap was the first may have changed while it was read.
  for (const [gap, rows] of early) {
    recovered.set(gap, (recovered.get(gap) ?? 0) - rows)
    sum += rows
  }
  early.clear()
  recovered.set(found, sum)
}

/** What is known of a gap once its history was read, or if there is none (`reading` null). */
export const judge = (
  reading: Pick<Reading, "acksSince" | "from" | "recovered"> | null,
  covers: History["covers"],
  gap: EndedGap
): Judgement => {
  const say = (proven: ReadonlyArray<Provable>, verdict: string): Judgement => ({
    proven,
    recovered: reading?.recovered.get(gap.id) ?? 0,
    detail: gap.detail === "" ? verdict : `${gap.detail}; ${verdict}`
  })
  if (reading === null) return say([], "this gateway keeps no history, so nothing of that time can be read")
  if (gap.openedAt < reading.from) {
    return say([], `what is before ${iso(reading.from)} is older than is kept, and was not read`)
  }
  const proven = provables.filter((one) => covers.has(one) && (one !== "acks" || reading.acksSince <= gap.openedAt))
  const lacking = provables.filter((one) => !proven.includes(one)).map((one) => words[one])
  const rest = [...lacking, "edits, revocations and other events"].join(", ")
  return say(
    proven,
    "the gateway's history was read for all of that time: " +
      (proven.length === 0 ? "" : `all ${proven.map((one) => words[one]).join(", ")} are in the log; `) +
      `not proven: ${rest}`
  )
}

const words: Readonly<Record<Provable, string>> = {
  messages: "messages",
  "other-messages": "messages without text and file",
  acks: "acks",
  reactions: "reactions"
}
