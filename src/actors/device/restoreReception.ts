/** How the next actor of a device goes on with its hearing: from its gaps, its watermark and its last record. */
import type { Gap, Watermark } from "../../domain/Gap.ts"
import type { RecordedDevice } from "../../domain/RecordedDevice.ts"
import type { DeviceClaim } from "../../services/DeviceRepository.ts"
import { makeGapId } from "../../services/EventIdentity.ts"
import type { DeviceCell } from "./DeviceCell.ts"
import { restore, unheard } from "./GapTracker.ts"
import type { RecordedReception } from "./GapTracker.ts"
import { gapRecords, pauseMax, transitMax, unnoticedMax } from "./hearing.ts"
import type { GapRecords } from "./hearing.ts"

export interface RestoredReception {
  /** Null where nothing is recorded of the device. */
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
      gaps: gaps.map(({ cause, detail, endedAt, id, openedAt }) => ({
        id,
        cause,
        detail,
        openedAt: Date.parse(openedAt),
        endedAt: parse(endedAt)
      })),
      wasHearing: row.device.state._tag === "Online" || row.device.state._tag === "Deaf",
      aliveThrough: parse(aliveUntil),
      recordedAt: parse(row.transitions[0]?.at) ?? now
    },
    watermark: parse(watermark?.through),
    sweptAt: parse(watermark?.sweptAt),
    floor: parse(row?.device.createdAt) ?? now,
    now
  }
}

const parse = (time: string | null | undefined): number | null => {
  const at = Date.parse(time ?? "")
  return Number.isNaN(at) ? null : at
}

/** Returns what must be written down: the gap of a process that ended without a word. */
export const resume = (
  cell: DeviceCell,
  { floor, now, recorded, sweptAt, watermark }: RestoredReception
): GapRecords => {
  const { reception } = cell
  Object.assign(reception, { floor, sweptAt, watermark })
  if (recorded === null) {
    reception.gaps = unheard
    return { drafts: [], effects: [] }
  }
  const { orders, state } = restore(recorded, {
    id: makeGapId(cell.host.clock.currentTimeMillisUnsafe()),
    now,
    // A dead connection that nobody had noticed, frames in a socket that was not read, and the way to us.
    unnoticedMax: unnoticedMax + pauseMax + transitMax,
    detail: "the process that ran it ended without a word"
  })
  reception.gaps = state
  return gapRecords(cell, orders)
}
