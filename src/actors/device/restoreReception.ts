/**
 * Restores the reception of a device from its records: for its next actor, and for an actor whose database was replaced by
 * an older one.
 */
import { Duration } from "effect"
import type { Gap, GapId, Watermark } from "../../domain/Gap.ts"
import type { RecordedDevice } from "../../domain/RecordedDevice.ts"
import type { DeviceClaim } from "../../services/DeviceRepository.ts"
import { makeGapId } from "../../services/EventIdentity.ts"
import type { DeviceCell } from "./DeviceCell.ts"
import { neverReceived, restore, track } from "./GapTracker.ts"
import type { GapOrder, RecordedReception, TrackedGap } from "./GapTracker.ts"
import { gapRecords, unprovenMax } from "./receptionGaps.ts"
import type { GapRecords } from "./receptionGaps.ts"
import { readHandOver } from "./actorMemory.ts"

export interface RestoredReception {
  /** Null if the device has no record. */
  readonly recorded: RecordedReception | null
  readonly watermark: number | null
  readonly sweptAt: number | null
  readonly floor: number
  readonly now: number
}

export const restoreReception = (
  row: RecordedDevice | undefined,
  { aliveUntil, claimedAt }: DeviceClaim,
  gaps: ReadonlyArray<Gap>,
  watermark: Watermark | undefined
): RestoredReception => {
  const now = Date.parse(claimedAt)
  return {
    recorded: row === undefined ? null : {
      gaps: gaps.map(toTracked),
      wasReceiving: row.device.state._tag === "Online" || row.device.state._tag === "Deaf",
      aliveThrough: parse(aliveUntil),
      recordedAt: parse(row.transitions[0]?.at) ?? now,
      handOver: readHandOver(row)
    },
    watermark: parse(watermark?.through),
    sweptAt: parse(watermark?.sweptAt),
    // Times of messages have whole seconds.
    floor: Math.floor((parse(row?.device.createdAt) ?? now) / 1000) * 1000,
    now
  }
}

const toTracked = ({ cause, detail, endedAt, id, openedAt }: Gap): TrackedGap => ({
  id,
  cause,
  detail,
  openedAt: Date.parse(openedAt),
  endedAt: parse(endedAt)
})

const parse = (time: string | null | undefined): number | null => {
  const at = Date.parse(time ?? "")
  return Number.isNaN(at) ? null : at
}

/** Returns the records to write: the gap of a process that ended unexpectedly. */
export const resume = (
  cell: DeviceCell,
  { floor, now, recorded, sweptAt, watermark }: RestoredReception
): GapRecords => {
  const { reception } = cell
  Object.assign(reception, { floor, sweptAt, watermark, unchecked: recorded !== null })
  if (recorded === null) {
    reception.gaps = neverReceived
    return { drafts: [], effects: [] }
  }
  const { orders, state } = restore(recorded, {
    id: makeGapId(cell.host.clock.currentTimeMillisUnsafe()),
    now,
    floor,
    unnoticedMax: unprovenMax,
    detail: "the process that ran it ended unexpectedly"
  })
  reception.gaps = state
  reception.inherited = state.reception === "receiving"
  if (reception.inherited) reception.handOver = recorded.handOver
  const lasting = state.gaps.at(-1)
  const lostSince = lasting?.endedAt === null ? lasting.openedAt : reception.handOver
  // The previous process had asked the gateway by then, as far as is known.
  if (lostSince !== null) {
    reception.unpostedSince = lostSince - askedWithin * Duration.toMillis(cell.host.settings.webhookInterval)
  }
  return gapRecords(cell, orders)
}

/** A gateway is asked again for its webhook after at most this many intervals. */
const askedWithin = 1.5

/** The records of a device in an older database that has taken our database's place, and the interval that it lacks. */
export interface OlderLog {
  /** Null: nothing is known about the time before. */
  readonly from: number | null
  readonly to: number
  /** The gaps that are open in it. */
  readonly gaps: ReadonlyArray<Gap>
  /** The gaps of this process that are recorded in it, open or closed. */
  readonly recorded: ReadonlySet<GapId>
  readonly watermark: Watermark | undefined
}

/**
 * The log has lost the events received since `from`. Returns the records to write: that time as a gap, the gaps that the
 * older log lacks, and the end of those that are still open in it although they were accounted for. The history is read
 * again from the older log's watermark.
 */
export const forget = (cell: DeviceCell, older: OlderLog): GapRecords => {
  const { host, reception } = cell
  const orders: Array<GapOrder> = []
  const apply = (input: Parameters<typeof track>[1]): ReadonlyArray<GapOrder> => {
    const tracked = track(reception.gaps, input)
    reception.gaps = tracked.state
    return tracked.orders
  }
  // Its window was chosen by a watermark that is no longer valid.
  reception.reading = null
  reception.found = null
  reception.watermark = parse(older.watermark?.through)
  reception.sweptAt = parse(older.watermark?.sweptAt)
  const known = new Set(older.gaps.map(({ id }) => id))
  const gaps = reception.gaps.gaps.map((gap): TrackedGap => {
    if (known.has(gap.id)) return gap
    // Closed there, perhaps with another end: the older log may be a copy in which others continued.
    const isClosed = older.recorded.has(gap.id)
    const again = isClosed ? { ...gap, id: makeGapId(host.clock.currentTimeMillisUnsafe()) } : gap
    orders.push({ _tag: "Open", gap: again })
    const { endedAt } = again
    if (endedAt !== null) orders.push({ _tag: "End", gap: { ...again, endedAt } })
    return again
  })
  reception.gaps = { ...reception.gaps, gaps }
  const remembered = new Set(reception.gaps.gaps.map(({ id }) => id))
  for (const gap of older.gaps.map(toTracked)) {
    if (remembered.has(gap.id)) continue
    const { cause, detail, id, openedAt: from } = gap
    // Its opening is in the older log.
    orders.push(
      ...apply({ _tag: "Missed", from, to: gap.endedAt ?? older.to, cause, detail, id })
        .filter(({ _tag }) => _tag === "End")
    )
  }
  if (reception.gaps.reception !== "never") {
    orders.push(...apply({
      _tag: "Missed",
      from: older.from ?? reception.floor,
      to: older.to,
      cause: "log-reset",
      detail: "an older database has taken the log's place",
      id: makeGapId(host.clock.currentTimeMillisUnsafe())
    }))
  }
  if (reception.gaps.reception === "receiving") host.backfill.receptionProven(cell)
  return gapRecords(cell, orders)
}
