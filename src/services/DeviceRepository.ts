/**
 * The `devices` table: desired state, and the state that actors last recorded. Any process may write desired state;
 * the fleet reads it and follows.
 */
import { Context, Duration } from "effect"
import type { Effect, Stream } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { DesiredDevice, Device } from "../domain/Device.ts"
import type { DeviceNotFound, StorageUnavailable, UpstreamIdTaken } from "../domain/DeviceErrors.ts"
import type { CursorInvalid } from "../domain/MessageErrors.ts"
import type { DeviceId, GatewayName, Timestamp, UpstreamId } from "../domain/Ids.ts"
import type { DeviceStateTag } from "../domain/DeviceState.ts"
import type { Pacing } from "../domain/Pacing.ts"
import type { RecordedDevice } from "../domain/RecordedDevice.ts"
import type { SessionTarget } from "./GatewayParts.ts"

export interface Page<A> {
  readonly items: ReadonlyArray<A>
  readonly next: string | null
}

/** A claim of one device, by the database's clock. */
export interface DeviceClaim {
  readonly epoch: number
  /**
   * The time until which the previous owner was alive: everything it had received until then is in the log. Null if
   * the device had no owner. An owner that has recorded no state of the device does not count: it may have died before
   * it recorded that the device had no session.
   */
  readonly aliveUntil: Timestamp | null
  readonly claimedAt: Timestamp
  /**
   * Number of consecutive processes that ended while they ran the device, without recording that they stop it; 16 at most.
   * A process that is alive after it has lost the device does not count.
   */
  readonly deaths: number
  /** How many of these processes had the device on trial. */
  readonly trials: number
  /**
   * The number of devices that the last of these processes had on trial, if this device was among them; otherwise
   * null.
   */
  readonly triedWith: number | null
}

/** A device that moves from one node of a cluster to another. */
export interface HandOver {
  /** The epoch of the last claim. */
  readonly epoch: number
  /** Identifies the last claim itself. */
  readonly claim: string
  /** Whether it is recorded as online. */
  readonly online: boolean
  /**
   * The claim whose holder was online while the previous node still listened for the device; null if there was none.
   */
  readonly confirmed: number | null
}

/** A process that runs devices, or that last did. */
export interface DeviceOwner {
  /** By name and start. */
  readonly owner: string
  readonly aliveAt: Timestamp
  /** Whether it was alive a few seconds ago. */
  readonly alive: boolean
  /** Active devices that it has claimed and no other process since. */
  readonly devices: number
}

/** A process records every few seconds that it is alive (`FleetSettings`), but not while the log cannot be written. */
export const aliveFor = Duration.seconds(20)

/** A device as identified at its gateway. */
export interface SlotHolder extends SessionTarget {
  readonly active: boolean
}

export class DeviceRepository extends Context.Service<DeviceRepository, {
  /** Inserts an active device in state `Inactive`. */
  readonly insert: (device: {
    readonly id: DeviceId
    readonly name: string
    readonly gateway: GatewayName
    readonly upstreamId: UpstreamId
  }) => Effect.Effect<Device, UpstreamIdTaken | StorageUnavailable>

  readonly get: (id: DeviceId) => Effect.Effect<Device, DeviceNotFound | StorageUnavailable>

  /** Oldest first. `limit` 1-1000. */
  readonly list: (options: {
    readonly state?: DeviceStateTag | undefined
    /** The devices that the caller may see; undefined for all. */
    readonly visible?: VisibleDevices
    readonly limit: number
    readonly cursor?: string | undefined
  }) => Effect.Effect<Page<Device>, StorageUnavailable | CursorInvalid>

  /** `pacing` null: the server's default. Omitted fields are unchanged. */
  readonly edit: (
    id: DeviceId,
    change: { readonly name?: string | undefined; readonly pacing?: Pacing | null | undefined }
  ) => Effect.Effect<Device, DeviceNotFound | StorageUnavailable>
  readonly setActive: (id: DeviceId, active: boolean) => Effect.Effect<Device, DeviceNotFound | StorageUnavailable>

  /** Raises the counter that asks the actor, wherever it lives, to drop its connection and open a new one. */
  readonly requestReconnect: (id: DeviceId) => Effect.Effect<Device, DeviceNotFound | StorageUnavailable>
  /** Raises the counter that asks the actor to leave quarantine. */
  readonly requestRelease: (id: DeviceId) => Effect.Effect<Device, DeviceNotFound | StorageUnavailable>

  /**
   * Makes `owner` the owner of these devices and raises the epoch of each (`epochs.ts`), ordered against all appends: events of an
   * older epoch were committed before, and none can be committed after. Ids without a device are left out.
   */
  readonly claim: (
    owner: string,
    ids: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyMap<DeviceId, DeviceClaim>, StorageUnavailable>

  /**
   * `owner` is not the last one that ran its devices, apart from those that it runs (`running`): an older database has forgotten
   * others. Of these, what was received until `aliveUntil` is in the log; null if that is not known. Inactive and quarantined devices
   * are not changed.
   */
  readonly disclaim: (
    owner: string,
    running: ReadonlyArray<DeviceId>,
    aliveUntil: Timestamp | null
  ) => Effect.Effect<void, StorageUnavailable>

  /** Records that `owner` is about to start these devices, so that a crash can be attributed to them. */
  readonly beginTrial: (owner: string, ids: ReadonlyArray<DeviceId>) => Effect.Effect<void, StorageUnavailable>
  /** Records that the process did not end. */
  readonly endTrial: (owner: string, ids: ReadonlyArray<DeviceId>) => Effect.Effect<void, StorageUnavailable>
  /** `owner` has run these devices for a while: the deaths of earlier processes no longer count. */
  readonly forgetDeaths: (owner: string, ids: ReadonlyArray<DeviceId>) => Effect.Effect<void, StorageUnavailable>

  readonly handOvers: (
    ids: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyMap<DeviceId, HandOver>, StorageUnavailable>
  /**
   * The previous node of these devices has listened for each until the holder of this claim (`HandOver.claim`) was online,
   * and everything it received is in the log. Changes nothing where the claim is not the device's last one.
   */
  readonly confirmHandOvers: (claims: ReadonlyMap<DeviceId, string>) => Effect.Effect<void, StorageUnavailable>

  /**
   * The devices of these ids with their newest transitions, newest first, up to a maximum for each; all from one
   * snapshot. Ids without a device are left out.
   */
  readonly recorded: (
    ids: ReadonlyArray<DeviceId>,
    transitionsMax: number
  ) => Effect.Effect<ReadonlyMap<DeviceId, RecordedDevice>, StorageUnavailable>

  /** The devices of the gateway with one of these ids, slots or accounts (canonical JIDs), active or not. */
  readonly findSlots: (
    gateway: GatewayName,
    names: {
      readonly ids: ReadonlyArray<DeviceId>
      readonly upstreamIds: ReadonlyArray<string>
      readonly accounts: ReadonlyArray<string>
    }
  ) => Effect.Effect<ReadonlyArray<SlotHolder>, StorageUnavailable>

  /** The process that has claimed the device, by host name and start; null if none has. */
  readonly owner: (id: DeviceId) => Effect.Effect<string | null, DeviceNotFound | StorageUnavailable>

  /** The processes that are alive or have devices, by name. */
  readonly owners: Effect.Effect<ReadonlyArray<DeviceOwner>, StorageUnavailable>

  /** Every device that should run, or whose recorded state is that of a running one. Without ids, of all devices. */
  readonly desired: (
    ids?: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyArray<DesiredDevice>, StorageUnavailable>

  /**
   * The devices whose desired state may have changed: at once for this process's own writes, by LISTEN for those of
   * others. Null means that any device may have changed: it comes first, after a lost connection, and when the reader
   * was too slow. Repeats are possible.
   */
  readonly changes: Stream.Stream<DeviceId | null>

  /** Devices per recorded state tag. */
  readonly countByState: Effect.Effect<Readonly<Partial<Record<DeviceStateTag, number>>>, StorageUnavailable>
}>()("columba/services/DeviceRepository") {}
