/**
 * One reading of a device's history: its window, what its rows prove, and the resulting judgement of gaps when it is
 * complete. Pure; `HistoryReader` executes readings.
 *
 * The window ends at the moment when the reading began, by the database's clock, and so does the resulting watermark. That
 * moment is never taken from a row: rows have the sender's clock, and a message that claims to be from next year must not
 * keep later readings from covering the present.
 */
import type { EventDraft } from "../../domain/Event.ts"
import { provables } from "../../domain/Gap.ts"
import type { GapId, Provable } from "../../domain/Gap.ts"
import type { History, HistoryWindow } from "../../services/GatewayParts.ts"
import type { EndedGap, GapState, Judgement, TrackedGap } from "../device/GapTracker.ts"
import { transitMax } from "../device/receptionGaps.ts"

/**
 * `connect`: reception is back. `look`: only the newest messages, because a device is silent. `schedule`: in case a loss
 * went unnoticed. `sweep`: the same, further back.
 */
export type ReadingKind = "connect" | "look" | "schedule" | "sweep"

export interface Reading {
  readonly kind: ReadingKind
  readonly from: number
  /** The time at which it began, and through which it proves anything. */
  readonly through: number
  readonly window: HistoryWindow
  /** Acks are proven for gaps that began then or later. */
  readonly acksSince: number
  /** Rows that claim to be newer are left to the next reading: they are probably on their way. */
  readonly newest: number
  /** The next page; null before the first one. */
  page: string | null
  pages: number
  /** Rows that were new to the log: in total, followed by their number per gap. */
  fresh: number
  readonly recovered: Map<GapId, number>
  /**
   * New ends of gaps that last longer than recorded: a message from shortly after the recorded end was missing too. The
   * clocks may differ, or the session that ended the gap was deaf: in neither case is that time proven.
   */
  readonly ends: Map<GapId, number>
  /** Rows that are older than every gap, by the gap that was oldest at that time: they were counted for that gap. */
  readonly early: Map<GapId, number>
  /** Whether rows were left out because they are probably on their way. */
  young: boolean
  /** Whether this is the first reading and no gap is known: events from before reception was proven were never promised. */
  readonly isFirst: boolean
  /** The times of other accounts' messages that were new, are in no gap, and are older than the current reception. */
  readonly odd: Array<number>
}

/** The results of a reading that did not finish. Its rows are in the log, where the next reading finds them known. */
export type Findings = Pick<Reading, "early" | "ends" | "odd" | "recovered">

/** How far the times of rows may be ahead of ours, because the gateway's clock is. */
const clockAheadMax = 10 * 60_000

/** A look begins this long before the time through which reception is proven: older rows are known. */
const lookOverlap = 60_000

/** Younger rows are probably on their way; otherwise the next reading finds them. */
const youngMax = 5000

export interface Begin {
  readonly kind: ReadingKind
  readonly now: number
  readonly gaps: GapState
  readonly watermark: number | null
  /** Nothing older is read. */
  readonly floor: number
  /** The time through which all messages have been received, according to the live path or the last reading. */
  readonly receivedThrough: number
  readonly overlap: number
  /** How long before a gap a reading begins that is to prove acks: acks come long after their messages. */
  readonly ackReach: number
  /** Whether the history has acks. */
  readonly hasAcks: boolean
  readonly sweep: number
  /** How far the clocks may differ. */
  readonly skew: number
  /** Of the previous reading, if that did not finish. */
  readonly found: Findings | null
}

export const begin = (begin: Begin): Reading => {
  const { floor, gaps, kind, now, watermark } = begin
  const oldestGap = findOldest(gaps)?.openedAt ?? Number.POSITIVE_INFINITY
  const lastEnd = gaps.gaps.reduce((latest, { endedAt }) => Math.max(latest, endedAt ?? 0), 0)
  // A clock that was set back leaves a watermark in the future; a gap may be older than the watermark.
  const known = Math.min(
    Math.min(watermark ?? floor, oldestGap, now) - begin.overlap,
    begin.hasAcks ? oldestGap - begin.ackReach : now
  )
  const wanted = kind === "look"
    ? Math.min(begin.receivedThrough, now) - lookOverlap
    : kind === "sweep"
    ? Math.min(known, now - begin.sweep)
    : known
  const from = Math.min(now, Math.max(wanted, floor))
  return {
    kind,
    from,
    through: now,
    window: { from: iso(from), to: iso(now + clockAheadMax) },
    // Messages older than the kept range have no acks that could be missing.
    acksSince: from <= floor ? Number.NEGATIVE_INFINITY : from + begin.ackReach,
    newest: Math.max(now - youngMax, lastEnd === 0 ? 0 : lastEnd + begin.skew),
    page: null,
    pages: 0,
    fresh: 0,
    recovered: begin.found?.recovered ?? new Map(),
    ends: begin.found?.ends ?? new Map(),
    early: begin.found?.early ?? new Map(),
    young: false,
    isFirst: watermark === null && gaps.gaps.length === 0,
    odd: begin.found?.odd ?? []
  }
}

const iso = (at: number): string => new Date(at).toISOString()

/** The drafts of a page to append: none that are too old for the log, and none that are probably on their way. */
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

/** Whether every session must deliver the message: it is from another account, in a chat between people. */
export const isExpectedLive = (
  draft: EventDraft
): draft is Extract<EventDraft, { readonly kind: "message.received" }> =>
  draft.kind === "message.received" && isExpectedChat(draft.data.chat)

export const isExpectedChat = (chat: string): boolean => /@(s\.whatsapp\.net|lid|g\.us)$/.test(chat)

/** The gap that was opened first. It is not always the first of the list: a missed one is put before the lasting one. */
export const findOldest = ({ gaps }: GapState): TrackedGap | undefined =>
  gaps.reduce<TrackedGap | undefined>(
    (oldest, gap) => oldest === undefined || gap.openedAt < oldest.openedAt ? gap : oldest,
    undefined
  )

/** Counts a row that was new to the log. Returns whether it should have come live. `skew` in milliseconds. */
export const count = (reading: Reading, gaps: GapState, draft: EventDraft, skew: number): boolean => {
  reading.fresh++
  const at = Date.parse(draft.occurredAt)
  const oldest = findOldest(gaps)
  if (oldest !== undefined) {
    const of = gaps.gaps.findLast(({ openedAt }) => openedAt <= at) ?? oldest
    reading.recovered.set(of.id, (reading.recovered.get(of.id) ?? 0) + 1)
    if (at < oldest.openedAt) reading.early.set(oldest.id, (reading.early.get(oldest.id) ?? 0) + 1)
    if (of.endedAt !== null && at > of.endedAt && at <= of.endedAt + skew && isExpectedLive(draft)) {
      const known = reading.ends.get(of.id) ?? of.endedAt
      reading.ends.set(of.id, Math.max(known, Math.min(reading.through, at + transitMax)))
    }
  }
  const isSuspect = isSuspicious(gaps, draft, at, skew)
  if (
    !isSuspect && isExpectedLive(draft) && !reading.isFirst && reading.odd.length < oddMax &&
    !isNamed(gaps.gaps, at, skew)
  ) {
    reading.odd.push(at)
  }
  return isSuspect
}

/** Maximum number of them; a few hundred prove as much as all. */
const oddMax = 1000

/** Whether a message of this time may have been lost in one of these gaps. */
export const isNamed = (
  gaps: ReadonlyArray<Pick<TrackedGap, "endedAt" | "openedAt">>,
  at: number,
  skew: number
): boolean =>
  gaps.some(({ endedAt, openedAt }) =>
    // Reception was proven until this long after the recorded beginning.
    openedAt + transitMax - secondResolution <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY) + skew
  )

const isSuspicious = (gaps: GapState, draft: EventDraft, at: number, skew: number): boolean => {
  if (gaps.receivingSince === null || !isExpectedLive(draft)) return false
  // A message close to the end of a gap may belong to it, because the clocks may differ. A gap may lie within the time of
  // proven reception.
  const isOfGap = gaps.gaps.some(({ endedAt, openedAt }) =>
    openedAt - secondResolution <= at && at <= (endedAt ?? Number.POSITIVE_INFINITY) + skew
  )
  return !isOfGap && at > gaps.receivingSince + skew
}

/** WhatsApp's times have whole seconds. */
const secondResolution = 1000

/** Moves rows that are older than every gap to the gap that was found because of them. */
export const assignEarly = ({ early, recovered }: Pick<Reading, "early" | "recovered">, found: GapId): void => {
  let sum = 0
  // The first gap may have changed during the reading.
  for (const [gap, rows] of early) {
    recovered.set(gap, (recovered.get(gap) ?? 0) - rows)
    sum += rows
  }
  early.clear()
  recovered.set(found, sum)
}

/** The judgement of a gap after its history was read, or without a history (`reading` null). */
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
