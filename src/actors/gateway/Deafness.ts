/**
 * Detects that a device is deaf: the gateway's history has a message that was new to the log although reception was proven,
 * and that does not arrive within the arrival time either. The gap is recorded when the message is found, before the
 * verdict.
 */
import { Duration, Effect } from "effect"
import type { EventDraft, LoggedEvent } from "../../domain/Event.ts"
import type { DeviceStateData, MessageData } from "../../domain/EventData.ts"
import { makeGapId } from "../../services/EventIdentity.ts"
import type { Appended, EventLog } from "../../services/EventLog.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DatabaseTime } from "../fleet/DatabaseTime.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { change, endDoubt, loseReception, proveReception, push, transitMax } from "../device/receptionGaps.ts"
import type { Suspect } from "../device/Reception.ts"
import * as Reading from "./Reading.ts"

/**
 * A device that is proven deaf reconnects at once, and again only after this time, doubled by each proof within an hour: if
 * the gateway's settings withhold some messages, reconnecting does not help.
 */
const proofPause = 60_000
const proofPauseMax = 60 * 60_000

/** One missed message proves as much as many. */
const suspectsMax = 16

/** The number of a device's newest gaps that are searched for one that covers a time. */
const gapsMax = 1000

/** The number of a device's newest events that are searched for live ones. */
const latestMax = 1000

/** An interval of the database's clock. */
export interface Interval {
  readonly from: number
  readonly to: number
}

export interface Deafness {
  /** Counts rows of a history. Returns how many were new to the log. */
  readonly count: (
    cell: DeviceCell,
    read: Reading.Reading,
    drafts: ReadonlyArray<EventDraft>,
    appended: ReadonlyArray<Appended>
  ) => Effect.Effect<number>
  /**
   * Checks whether missed messages have arrived meanwhile; one that has not proves that the device is deaf, and ends its
   * session.
   */
  readonly judge: (cell: DeviceCell, suspects: ReadonlyArray<Suspect>, now: number) => void
  /**
   * Called after a reading of a device whose reception is in doubt: one without a missing message ends the doubt. A missing
   * message that a look found proves deafness again; one that a longer reading found may be from before the doubt.
   */
  readonly judgeDoubted: (cell: DeviceCell, read: Reading.Reading) => void
  /**
   * Intervals in which the device was deaf although reception seemed proven, and that no gap covers: messages in them were
   * new to the log, in this reading or in one that an earlier process did not finish. (WhatsApp may also have delivered
   * them late.) The live events around them bound the intervals.
   */
  readonly findHindsight: (cell: DeviceCell, read: Reading.Reading) => Effect.Effect<ReadonlyArray<Interval>>
  /** How often deafness was proven since the last call. */
  readonly takeProofs: () => number
}

export interface DeafnessParts {
  readonly log: EventLog["Service"]
  readonly ledger: GapRepository["Service"]
  readonly time: DatabaseTime["Service"]
  readonly settings: Pick<FleetSettings, "clockSkew" | "deafArrival" | "deafGrace" | "webhookTries">
  /** Called when suspects of a device have been found, which are judged when they are due. */
  readonly onSuspects: (cell: DeviceCell) => void
}

export const make = (
  gateway: WhatsAppGateway,
  { ledger, log, onSuspects, settings, time }: DeafnessParts
): Deafness => {
  const skew = Duration.toMillis(settings.clockSkew)
  const grace = Duration.toMillis(settings.deafGrace)
  const { deafArrival, webhookTries } = settings
  const arrival = Duration.toMillis(gateway.capabilities.liveEvents === "webhook" ? webhookTries : deafArrival)
  let proofs = 0

  /** The newest events of the device that came live. */
  const readLive = (cell: DeviceCell): Effect.Effect<ReadonlyArray<Came>> =>
    log.latest({ device: cell.device.id, limit: latestMax }).pipe(
      Effect.map(listLive),
      Effect.orElseSucceed((): ReadonlyArray<Came> => [])
    )

  /** The recorded gaps of the device, the newest ones. */
  const readGaps = (cell: DeviceCell) =>
    ledger.page({ device: cell.device.id, limit: gapsMax }).pipe(
      Effect.map(({ items }) =>
        items.map((gap) => ({ openedAt: readTime(gap.openedAt), endedAt: readEnd(gap.endedAt) }))
      ),
      Effect.orElseSucceed(() => [])
    )

  /** The end of the device's last gap before its own session: reception that was taken over from another node began then. */
  const readBeginning = (cell: DeviceCell, since: number) =>
    Effect.map(
      readGaps(cell),
      (gaps) =>
        Math.max(cell.reception.floor, ...gaps.flatMap(({ endedAt }) => endedAt ?? []).filter((at) => at <= since))
    )

  /**
   * Reception of the device is no longer proven: its gap is recorded before the verdict, so that it exists even if the
   * process is killed meanwhile.
   */
  const suspect = Effect.fnUntraced(function*(cell: DeviceCell, suspects: ReadonlyArray<Suspect>) {
    const { reception } = cell
    const since = reception.gaps.receivingSince
    if (since === null) return
    // Set at once, so that messages that arrive from now on count.
    reception.suspects = suspects.slice(0, suspectsMax)
    onSuspects(cell)
    const oldest = suspects.reduce((least, { occurredAt }) => Math.min(least, occurredAt), Number.POSITIVE_INFINITY)
    const last = findLast((yield* readLive(cell)).map(({ notBefore }) => notBefore), oldest)
    const detail = "messages of that time were in the gateway's history and had not come"
    const begun = reception.inherited ? yield* readBeginning(cell, since) : since
    const from = Math.max(reception.floor, Math.max(last ?? begun, begun) - transitMax)
    if (reception.gaps.receivingSince === since) return push(cell, loseReception(cell, "deaf", detail, from))
    // Reception was lost during the read, and the gap of that loss may begin too late.
    const id = makeGapId(cell.host.clock.currentTimeMillisUnsafe())
    push(cell, change(cell, { _tag: "Missed", from, to: time.now(), cause: "deaf", detail, id }))
  })

  /** Ends the session, unless that was done shortly before and has not helped. */
  const prove = (cell: DeviceCell, evidence: string): void => {
    const { host, reception } = cell
    const now = host.now()
    reception.doubted = true
    if (now - reception.provedAt > proofPauseMax) reception.proofs = 0
    const pause = Math.min(proofPauseMax, proofPause * 2 ** (reception.proofs - 1))
    if (reception.proofs > 0 && now - reception.provedAt <= pause) return
    reception.proofs++
    reception.provedAt = now
    cell.post({ _tag: "DeafProved", evidence })
  }

  return {
    count: Effect.fnUntraced(function*(cell, read, drafts, appended) {
      const { host, reception } = cell
      const now = host.now()
      let fresh = 0
      const suspects: Array<Suspect> = []
      drafts.forEach((draft, index) => {
        if (appended[index]?._tag !== "Committed") return
        fresh++
        if (!Reading.count(read, reception.gaps, draft, skew) || draft.kind !== "message.received") return
        const occurredAt = Date.parse(draft.occurredAt)
        const age = Math.max(0, time.now() - occurredAt)
        suspects.push({ waId: draft.data.waId, occurredAt, judgeAt: now + Math.max(arrival, grace - age) })
      })
      if (suspects.length > 0) yield* suspect(cell, suspects)
      return fresh
    }),

    judge: (cell, suspects, now) => {
      const { reception } = cell
      if (suspects.length === 0) {
        reception.suspects = null
        return push(cell, proveReception(cell))
      }
      const missed = suspects.filter(({ judgeAt }) => judgeAt <= now)
      if (missed.length === 0) return
      reception.suspects = null
      proofs++
      const oldest = missed.reduce((least, { occurredAt }) => Math.min(least, occurredAt), Number.POSITIVE_INFINITY)
      const evidence = `the gateway's history has ${missed.length} message(s), the first of ` +
        `${new Date(oldest).toISOString()}, that the session did not deliver`
      prove(cell, evidence)
    },

    judgeDoubted: (cell, { fresh, kind, young }) => {
      if (fresh === 0) {
        if (!young) push(cell, endDoubt(cell))
      } else if (kind === "look") {
        prove(cell, `the gateway's history has ${fresh} event(s) that the session did not deliver`)
      }
    },

    findHindsight: Effect.fnUntraced(function*(cell, { odd }) {
      const { device, reception } = cell
      if (odd.length === 0 && !reception.unchecked) return []
      const events = yield* log.latest({ device: device.id, limit: latestMax }).pipe(Effect.orElseSucceed(() => []))
      const written = yield* readGaps(cell)
      const live = listLive(events)
      const unclosed = reception.gaps.gaps
      const gaps = [...written, ...unclosed]
      const proofs = [
        ...live.map(({ notBefore }) => notBefore),
        ...listBeginnings(events),
        ...gaps.flatMap(({ endedAt }) => endedAt ?? [])
      ]
      // A reading proves messages, but no reactions and edits. It counts only if the events before are deleted by now, or lie
      // beyond the maximum number of events searched.
      const readings = reception.watermark === null ? [] : [reception.watermark]
      // Rows found before a gap was closed are counted in it; rows found later were not on their way then.
      const isNamed = (at: number) => Reading.isNamed(unclosed, at, skew) || Reading.isNamed(written, at, 0)
      const since = events.length === latestMax
        ? Number.NEGATIVE_INFINITY
        : Math.min(...live.map(({ recordedAt }) => recordedAt), ...gaps.map(({ openedAt }) => openedAt))
      const left = reception.unchecked ? listRead(events).filter((at) => at >= since) : []
      const missed = [...odd, ...left].filter((at) => at >= reception.floor && !isNamed(at))
      return groupByLive(missed.toSorted((one, other) => one - other), live).map(({ first, last }) => {
        // A device that was added a moment ago may have no earlier proof.
        const from = findLast(proofs, first) ?? findLast(readings, first) ?? first
        const next = Math.min(...gaps.map(({ openedAt }) => openedAt).filter((at) => at > last), time.now())
        const to = live.findLast(({ notBefore }) => notBefore > last + transitMax)?.recordedAt ?? next
        return { from: Math.max(reception.floor, from - transitMax), to: Math.min(to, next) }
      })
    }),

    takeProofs: () => {
      const taken = proofs
      proofs = 0
      return taken
    }
  }
}

/**
 * An event that came live. It was received between its time at WhatsApp and the time of its record, which is minutes later
 * if the database was unavailable.
 */
interface Came {
  readonly notBefore: number
  readonly recordedAt: number
}

/** The live events, in their order. */
const listLive = (events: ReadonlyArray<LoggedEvent>): ReadonlyArray<Came> =>
  events.filter(({ via }) => via === "live" || via === "webhook").map((event) => {
    const recordedAt = readTime(event.recordedAt)
    return { recordedAt, notBefore: Math.min(recordedAt, readTime(event.occurredAt)) }
  })

/** The latest of these times that is not after `at`. */
const findLast = (times: ReadonlyArray<number>, at: number): number | undefined => {
  const before = times.filter((time) => time <= at)
  return before.length === 0 ? undefined : before.reduce((latest, time) => Math.max(latest, time))
}

/**
 * The times at which the device came online first, or first after it was deactivated. Any later time online ends a gap, which
 * has the time of the proof instead of the record, or continues the reception of another node, which proves nothing. The
 * newest event is the first one.
 */
const listBeginnings = (events: ReadonlyArray<LoggedEvent>): ReadonlyArray<number> => {
  const found: Array<number> = []
  let begins = events.length < latestMax
  for (const { data, kind, occurredAt, recordedAt } of events.toReversed()) {
    if (kind !== "device.state") continue
    const { rule, state } = JSON.parse(data) as DeviceStateData
    if (rule === "deactivated") begins = true
    if (state._tag !== "Online") continue
    if (begins) found.push(Math.min(readTime(recordedAt), readTime(occurredAt)))
    begins = false
  }
  return found
}

/** The times of other accounts' messages that came from a history. */
const listRead = (events: ReadonlyArray<LoggedEvent>): ReadonlyArray<number> =>
  events.filter(({ data, kind, via }) =>
    via === "backfill" && kind === "message.received" && Reading.isExpectedChat((JSON.parse(data) as MessageData).chat)
  ).map(({ occurredAt }) => readTime(occurredAt))

/** Groups sorted times; a live event between two times separates them. */
const groupByLive = (
  times: ReadonlyArray<number>,
  live: ReadonlyArray<Came>
): ReadonlyArray<{ readonly first: number; readonly last: number }> => {
  const groups: Array<{ first: number; last: number }> = []
  for (const at of times) {
    const group = groups.at(-1)
    if (group === undefined || live.some(({ notBefore }) => notBefore > group.last + transitMax && notBefore < at)) {
      groups.push({ first: at, last: at })
    } else group.last = at
  }
  return groups
}

const readTime = (time: string): number => Date.parse(time)
const readEnd = (time: string | null): number | null => time === null ? null : readTime(time)
