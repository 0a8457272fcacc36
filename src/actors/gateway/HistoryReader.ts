/**
 * Executes the reading of one device's history, a few pages at a time, and updates the device's gaps with the results.
 *
 * Rows are appended under the same identities as live events, and the log returns which were new. The
 * watermark moves in the transaction that stores the last rows of a reading. The gaps that the reading accounts for are
 * closed after that, in one transaction. A crash in between leaves gaps open, and the next reading closes them.
 */
import { Clock, Duration, Effect, Metric } from "effect"
import type { Cause } from "effect"
import type { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { EventDraft } from "../../domain/Event.ts"
import type { BackfillView } from "../../services/DeviceFleet.ts"
import { makeGapId } from "../../services/EventIdentity.ts"
import { groupEventsMax } from "../../services/EventLog.ts"
import type { EventLog, Fence, Fenced, GroupTooLarge } from "../../services/EventLog.ts"
import type { FleetSettings } from "../../services/FleetSettings.ts"
import * as GapDrafts from "../../services/GapDrafts.ts"
import type { History, HistoryAbsent } from "../../services/GatewayParts.ts"
import type { LogEffect } from "../../services/LogEffect.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import * as Metrics from "../../services/Metrics.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import type { DatabaseTime } from "../fleet/DatabaseTime.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { track } from "../device/GapTracker.ts"
import type { GapOrder } from "../device/GapTracker.ts"
import { change, gapRecords, push } from "../device/receptionGaps.ts"
import { appendRows } from "./appendRows.ts"
import type { Deafness, Interval } from "./Deafness.ts"
import { RecentRate } from "./RecentRate.ts"
import * as Reading from "./Reading.ts"
import type { ReadingKind } from "./Reading.ts"

/** The time limit of a page: beyond it, the gateway is in trouble. Adapters have shorter limits of their own. */
const pageMax = Duration.seconds(60)

/** After this many pages it is the next device's turn: one long history must not block the others. */
const pagesPerTurn = 10

const hindsightDetail =
  "messages of that time were in the gateway's history and had not come, although the session seemed open"

const freshRows = Metric.withAttributes(Metrics.backfillRows, { outcome: "new" })
const knownRows = Metric.withAttributes(Metrics.backfillRows, { outcome: "known" })

export interface HistoryReader {
  /** Reads the next pages. `more`: the reading has not ended, and the device is due again. */
  readonly takeTurn: (
    cell: DeviceCell,
    kind: ReadingKind,
    history: History
  ) => Effect.Effect<
    "more" | "over",
    GatewayUnavailable | HistoryAbsent | Cause.TimeoutError | Fenced | GroupTooLarge
  >
  /** There is no history to read: nothing more can be learned about gaps that have ended. */
  readonly settleWithout: (cell: DeviceCell) => Effect.Effect<void, Fenced | GroupTooLarge>
  /** The rows that were new to the log and the pages since this reader was made, and their recent rates. */
  readonly counts: () => Pick<BackfillView, "pages" | "pagesPerSecond" | "rows" | "rowsPerSecond">
}

const fenceOf = ({ device, epoch }: DeviceCell): Fence => ({ deviceId: device.id, epoch })

export interface HistoryReaderParts {
  readonly log: EventLog["Service"]
  readonly time: DatabaseTime["Service"]
  readonly settings: FleetSettings
  readonly deafness: Deafness
  readonly pace: Effect.Effect<void>
  /** Whether the device still runs here. */
  readonly has: (cell: DeviceCell) => boolean
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway,
  { deafness, has, log, pace, settings, time }: HistoryReaderParts
): Effect.fn.Return<HistoryReader> {
  const clock = yield* Clock.Clock
  let rows = 0
  let pages = 0
  const recent = { rows: new RecentRate(), pages: new RecentRate() }

  const findFloor = (cell: DeviceCell): number => {
    const { historyAgeMax } = settings
    const age = historyAgeMax === null ? Number.NEGATIVE_INFINITY : time.now() - Duration.toMillis(historyAgeMax)
    return Math.max(cell.reception.floor, age)
  }

  /** The decisions about the device that follow from a reading. */
  const decide = (cell: DeviceCell, drafts: ReadonlyArray<EventDraft>, effects: ReadonlyArray<LogEffect>) =>
    drafts.length === 0 && effects.length === 0
      ? Effect.succeed([])
      : log.append(drafts, { fence: fenceOf(cell), effects })

  /** The last page: its rows and the watermark are one transaction, unless the rows are too large for one. */
  const appendLast = (cell: DeviceCell, read: Reading.Reading, drafts: ReadonlyArray<EventDraft>) => {
    const through = new Date(read.through).toISOString()
    const effects = [GapDrafts.watermark(cell.device.id, through, read.kind === "sweep" ? through : null)]
    const apart = Effect.tap(appendRows(log, drafts, fenceOf(cell)), () => decide(cell, [], effects))
    return drafts.length > groupEventsMax
      ? apart
      : Effect.catchTag(decide(cell, drafts, effects), "GroupTooLarge", () => apart)
  }

  /** Updates the device's gaps with the results. Synchronous up to the append: a loss from now on is a new gap. */
  const close = (
    cell: DeviceCell,
    read: Reading.Reading | null,
    through: number,
    hindsight: ReadonlyArray<Interval>
  ): Effect.Effect<unknown, Fenced | GroupTooLarge> =>
    Effect.suspend(() => {
      const { reception } = cell
      const oldest = Reading.findOldest(reception.gaps)
      let { gaps: state } = reception
      const orders: Array<GapOrder> = []
      for (const [index, interval] of hindsight.entries()) {
        const id = makeGapId(clock.currentTimeMillisUnsafe())
        const isEarlier = oldest !== undefined && interval.from < oldest.openedAt
        if (index === 0 && read !== null && isEarlier) Reading.assignEarly(read, id)
        const missed = track(state, { _tag: "Missed", ...interval, cause: "deaf", detail: hindsightDetail, id })
        state = missed.state
        orders.push(...missed.orders)
      }
      const covers = gateway.history?.covers ?? new Set<never>()
      const closed = track(state, {
        _tag: "Accounted",
        from: read?.from ?? through,
        through,
        ends: read?.ends ?? new Map(),
        judge: (gap) => Reading.judge(read, covers, gap)
      })
      reception.gaps = closed.state
      const { drafts, effects } = gapRecords(cell, [...orders, ...closed.orders])
      return decide(cell, drafts, effects)
    })

  /** Records missed intervals. A look closes no gap: the following reading does. */
  const nameMissed = (cell: DeviceCell, intervals: ReadonlyArray<Interval>): void => {
    if (intervals.length === 0) return
    for (const interval of intervals) {
      const id = makeGapId(clock.currentTimeMillisUnsafe())
      push(cell, change(cell, { _tag: "Missed", ...interval, cause: "deaf", detail: hindsightDetail, id }))
    }
    if (cell.reception.gaps.reception === "receiving") cell.host.backfill.receptionProven(cell)
  }

  const finish = Effect.fnUntraced(function*(cell: DeviceCell, read: Reading.Reading) {
    const { reception } = cell
    reception.reading = null
    reception.failures = 0
    reception.lookedThrough = read.through
    if (read.kind === "look") {
      reception.lookedAt = cell.host.now()
      if (read.fresh === 0 && !read.young) reception.looks++
      if (reception.doubted) deafness.judgeDoubted(cell, read)
      if (read.odd.length > 0) nameMissed(cell, yield* deafness.findHindsight(cell, read))
      return
    }
    const hindsight = yield* deafness.findHindsight(cell, read)
    reception.unchecked = false
    reception.watermark = Math.max(reception.watermark ?? 0, read.through)
    if (read.kind === "sweep") reception.sweptAt = read.through
    reception.lookedAt = cell.host.now()
    yield* close(cell, read, read.through, hindsight)
    // Readings that are due more often than looks leave no time for looks.
    if (reception.doubted) deafness.judgeDoubted(cell, read)
  })

  /** A message that came by webhook proves nothing about earlier ones: each comes separately, in any order, or never. */
  const findReceivedThrough = ({ reception }: DeviceCell): number => {
    const { receivingAt, lookedAt, lookedThrough, messageAt } = reception
    return gateway.capabilities.liveEvents === "webhook"
      ? Math.max(lookedThrough, time.at(receivingAt))
      : time.at(Math.max(messageAt, lookedAt, receivingAt))
  }

  const begin = (cell: DeviceCell, kind: ReadingKind): Reading.Reading => {
    const { reception } = cell
    return Reading.begin({
      kind,
      now: time.now(),
      gaps: reception.gaps,
      watermark: reception.watermark,
      floor: findFloor(cell),
      receivedThrough: findReceivedThrough(cell),
      overlap: Duration.toMillis(settings.historyOverlap),
      ackReach: Duration.toMillis(settings.historyAckReach),
      hasAcks: gateway.history?.covers.has("acks") ?? false,
      sweep: Duration.toMillis(settings.historySweep),
      skew: Duration.toMillis(settings.clockSkew),
      found: reception.found
    })
  }

  const takeTurn: HistoryReader["takeTurn"] = Effect.fnUntraced(function*(cell, kind, history) {
    const { reception } = cell
    const target = { deviceId: cell.device.id, upstreamId: cell.device.upstreamId, jid: cell.actorState.jid }
    const read = reception.reading ??= begin(cell, kind)
    reception.found = null
    for (let page = 0; page < pagesPerTurn; page++) {
      yield* pace
      const answer = yield* Effect.timeout(history.read(target, read.window, read.page), pageMax)
      pages++
      recent.pages.add(1, cell.host.now())
      read.pages++
      yield* Metric.update(Metrics.backfillPages, 1)
      if (answer.next !== null && answer.next === read.page) {
        return yield* Effect.die(new Error("the page leads to itself"))
      }
      // The device has left, or the reading was abandoned because an older database has taken over.
      if (!has(cell) || cell.reception.reading !== read) return "over"
      // Reception was lost meanwhile: the following reading finds the same rows and draws the conclusions from them.
      if (read.kind === "look" && reception.gaps.gaps.length > 0 && !reception.doubted) {
        reception.abandon()
        return "over"
      }
      const drafts = Reading.selectRows(read, answer.drafts, findFloor(cell))
      const isLast = answer.next === null
      const appended = isLast && read.kind !== "look"
        ? yield* appendLast(cell, read, drafts)
        : yield* appendRows(log, drafts, fenceOf(cell))
      const fresh = yield* deafness.count(cell, read, drafts, appended)
      rows += fresh
      recent.rows.add(fresh, cell.host.now())
      yield* Metric.update(freshRows, fresh)
      yield* Metric.update(knownRows, drafts.length - fresh)
      read.page = answer.next
      if (isLast) {
        yield* finish(cell, read)
        return "over"
      }
    }
    return "more"
  })

  return {
    takeTurn,
    settleWithout: (cell) =>
      Effect.suspend(() => {
        const { reception } = cell
        reception.reading = null
        reception.lookedAt = cell.host.now()
        return reception.gaps.gaps.length === 0 ? Effect.void : Effect.asVoid(close(cell, null, time.now(), []))
      }),
    counts: () => {
      const now = monotonicMillis(clock)
      return {
        rows,
        pages,
        rowsPerSecond: recent.rows.perSecond(now),
        pagesPerSecond: recent.pages.perSecond(now)
      }
    }
  }
})
