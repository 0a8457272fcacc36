/**
 * Finds out that a device is deaf: a message of the gateway's history that was new to the log although the device was
 * hearing, and that does not come within the time of arrival either. Its gap is written down when the message is found,
 * before the verdict.
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
import { change, endDoubt, hear, loseReception, push, transitMax } from "../device/hearing.ts"
import type { Suspect } from "../device/Reception.ts"
import * as Reading from "./Reading.ts"

/**
 * A device that is proven deaf connects again at once, and again only after this time, doubled by each proof that comes
 * within an hour: where the gateway withholds some messages by its settings, connecting again does not help.
 */
const proofPause = 60_000
const proofPauseMax = 60 * 60_000

/** One missed message proves as much as many. */
const suspectsMax = 16

/** How many of a device's newest gaps are looked at for one that names a time. */
const gapsMax = 1000

/** How many of a device's newest events are looked through for those that came live. */
const latestMax = 1000

/** An interval of the database's clock. */
export interface Interval {
  readonly from: number
  readonly to: number
}

export interface Deafness {
  /** Takes rows of a history into account. Returns how many were new to the log. */
  readonly count: (
    cell: DeviceCell,
    read: Reading.Reading,
    drafts: ReadonlyArray<EventDraft>,
    appended: ReadonlyArray<Appended>
  ) => Effect.Effect<number>
  /** Whether what was missed has come meanwhile; what has not proves that the device is deaf, and ends its session. */
  readonly judge: (cell: DeviceCell, suspects: ReadonlyArray<Suspect>, now: number) => void
  /** A look at a device whose reception is doubted is over: a miss proves deafness again, nothing missing ends the doubt. */
  readonly judgeLook: (cell: DeviceCell, read: Reading.Reading) => void
  /**
   * Times at which the device was deaf although it seemed to hear, and that no gap names: messages in them were new to the
   * log, either in this reading or in one that an earlier process had not finished when it ended. Or WhatsApp delivered them
   * late. What came live around them says between which times.
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
  /** Suspects of a device have been found: they are to be judged when it is time. */
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

  /**
   * Nothing proves any more that the device hears: its gap is written down before the verdict, so that it is there even if
   * the process is killed meanwhile.
   */
  const suspect = Effect.fnUntraced(function*(cell: DeviceCell, suspects: ReadonlyArray<Suspect>) {
    const { reception } = cell
    const since = reception.gaps.hearingSince
    if (since === null) return
    // At once: what comes from now on counts.
    reception.suspects = suspects.slice(0, suspectsMax)
    onSuspects(cell)
    const oldest = suspects.reduce((least, { occurredAt }) => Math.min(least, occurredAt), Number.POSITIVE_INFINITY)
    const last = findLast((yield* readLive(cell)).map(({ notBefore }) => notBefore), oldest)
    const detail = "messages of that time were in the gateway's history and had not come"
    const from = Math.max(reception.floor, Math.max(last ?? since, since) - transitMax)
    if (reception.gaps.hearingSince === since) return push(cell, loseReception(cell, "deaf", detail, from))
    // Reception was lost while the log was read, and that gap may begin too late.
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
        return push(cell, hear(cell))
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

    judgeLook: (cell, { fresh, young }) => {
      if (fresh > 0) prove(cell, `the gateway's history has ${fresh} event(s) that the session did not deliver`)
      else if (!young) push(cell, endDoubt(cell))
    },

    findHindsight: Effect.fnUntraced(function*(cell, { odd }) {
      const { device, reception } = cell
      if (odd.length === 0 && !reception.unchecked) return []
      const events = yield* log.latest({ device: device.id, limit: latestMax }).pipe(Effect.orElseSucceed(() => []))
      const written = yield* ledger.page({ device: device.id, limit: gapsMax }).pipe(
        Effect.map(({ items }) =>
          items.map((gap) => ({ openedAt: readTime(gap.openedAt), endedAt: readEnd(gap.endedAt) }))
        ),
        Effect.orElseSucceed(() => [])
      )
      const live = listLive(events)
      const unclosed = reception.gaps.gaps
      const gaps = [...written, ...unclosed]
      // What came live before may be deleted by now, or more events than are looked through may have come since.
      const proofs = [
        ...live.map(({ notBefore }) => notBefore),
        ...listOnline(events),
        ...gaps.flatMap(({ endedAt }) => endedAt ?? []),
        ...(reception.watermark === null ? [] : [reception.watermark])
      ]
      // What was found of a gap when it was closed is in it: what is found later was not on its way then.
      const isNamed = (at: number) => Reading.isNamed(unclosed, at, skew) || Reading.isNamed(written, at, 0)
      const since = events.length === latestMax
        ? Number.NEGATIVE_INFINITY
        : Math.min(...live.map(({ recordedAt }) => recordedAt), ...gaps.map(({ openedAt }) => openedAt))
      const left = reception.unchecked ? listRead(events).filter((at) => at >= since) : []
      const missed = [...odd, ...left].filter((at) => at >= reception.floor && !isNamed(at))
      return groupByLive(missed.toSorted((one, other) => one - other), live).map(({ first, last }) => {
        // Of a device that was added a moment ago nothing may ever have come.
        const from = findLast(proofs, first) ?? first
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
 * An event that came live. When it was received lies between the time that it has from WhatsApp and that of its record: while
 * the database is away, the latter is minutes later.
 */
interface Came {
  readonly notBefore: number
  readonly recordedAt: number
}

/** Those that came live, in their order. */
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

/** When the device came online. */
const listOnline = (events: ReadonlyArray<LoggedEvent>): ReadonlyArray<number> =>
  events.filter(({ data, kind }) =>
    kind === "device.state" && (JSON.parse(data) as DeviceStateData).state._tag === "Online"
  ).map(({ recordedAt }) => readTime(recordedAt))

/** When those messages of other accounts were sent that a history brought. */
const listRead = (events: ReadonlyArray<LoggedEvent>): ReadonlyArray<number> =>
  events.filter(({ data, kind, via }) =>
    via === "backfill" && kind === "message.received" && Reading.isHeardChat((JSON.parse(data) as MessageData).chat)
  ).map(({ occurredAt }) => readTime(occurredAt))

/** Times in order, together as long as nothing came live between them. */
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
