/**
 * Reads the ledger of gaps, the watermarks and the heartbeats. Only the log writes them: gaps by the events
 * `gap.opened` and `gap.closed`, the rest by the effects of an append (`LogEffect`).
 *
 * Each time is the database's, because the clocks of the processes that wrote it may differ from ours and from each
 * other.
 */
import { Context } from "effect"
import type { Duration, Effect } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Gap, GapCause, GapCounts, GapId, GapStatus, Provable, Watermark } from "../domain/Gap.ts"
import type { DeviceId, Timestamp } from "../domain/Ids.ts"
import type { CursorInvalid } from "../domain/MessageErrors.ts"
import type { Page } from "./DeviceRepository.ts"

/** The place of a page of gaps. */
export const gapIdPattern = /^gap_[0-9A-Z]{26}$/

/** The database's records of the heartbeats of processes that run devices. */
export interface Heartbeat {
  readonly now: Timestamp
  /** The process's last heartbeat (effect `Alive`); null if there is none, or an older database has none. */
  readonly aliveAt: Timestamp | null
  /** The newest of all processes, this one included. */
  readonly newest: Timestamp | null
}

export class GapRepository extends Context.Service<GapRepository, {
  /** The open gaps of these devices, in order of their beginning. Devices without any are left out. */
  readonly openOf: (
    devices: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyMap<DeviceId, ReadonlyArray<Gap>>, StorageUnavailable>

  /** Which of these are recorded, open or closed. */
  readonly known: (ids: ReadonlyArray<GapId>) => Effect.Effect<ReadonlySet<GapId>, StorageUnavailable>

  /** Newest first by when they were recorded. `limit` 1-1000. */
  readonly page: (options: {
    readonly device?: DeviceId | undefined
    readonly status?: GapStatus | undefined
    /** Only gaps that are accounted for without this being proven. */
    readonly unproven?: Provable | undefined
    /** The devices that the caller may see; undefined for all. */
    readonly visible?: VisibleDevices
    readonly limit: number
    readonly cursor?: string | undefined
  }) => Effect.Effect<Page<Gap>, StorageUnavailable | CursorInvalid>

  /** The watermarks of these devices; devices without one are left out. */
  readonly watermarks: (
    devices: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyMap<DeviceId, Watermark>, StorageUnavailable>

  readonly heartbeat: (owner: string) => Effect.Effect<Heartbeat, StorageUnavailable>

  /** The database's clock. */
  readonly now: Effect.Effect<Timestamp, StorageUnavailable>

  readonly countsOf: (device: DeviceId) => Effect.Effect<GapCounts, StorageUnavailable>

  /** How many gaps are open over all devices, by cause. */
  readonly countOpen: Effect.Effect<Readonly<Partial<Record<GapCause, number>>>, StorageUnavailable>

  /**
   * Deletes gaps that were accounted for longer ago than `keep`, and equally old heartbeats of processes that no
   * device refers to. Open gaps stay. Returns how many gaps were deleted.
   */
  readonly deleteOlderThan: (keep: Duration.Duration) => Effect.Effect<number, StorageUnavailable>
}>()("columba/services/GapRepository") {}
