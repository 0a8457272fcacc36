/**
 * The `devices` table: what should run, and what its actors last recorded. Any process may write desired state; the
 * fleet reads it and follows.
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
   * Until when the owner before was alive: what it had received until then is in the log. Null where the device had no
   * owner. An owner that has recorded no state of the device does not count: it may have died before it wrote down that
   * nobody was there.
   */
  readonly aliveUntil: Timestamp | null
  readonly claimedAt: Timestamp
  /** Processes in a row that have ended while they ran the device, without recording that they stop it. */
  readonly deaths: number
  /** The last of them had the device on trial, with so many in all; null: it had not. */
  readonly triedWith: number | null
}

/** A device that moves from one node of a cluster to another. */
export interface HandOver {
  /** Of its last claim. */
  readonly epoch: number
  /** Its last claim, and no other one: an older database gives the same epochs out again. */
  readonly claim: string
  /** Whether it is recorded as online. */
  readonly online: boolean
  /** The claim whose holder was online while the node before still listened for the device; null: none ever was. */
  readonly confirmed: number | null
}

/** A process that runs devices, or did when it was last heard of. */
export interface DeviceOwner {
  /** By name and start. */
  readonly owner: string
  readonly aliveAt: Timestamp
  /** It was, moments ago. */
  readonly alive: boolean
  /** Active devices that it has claimed and no other process since. */
  readonly devices: number
}

/** A process writes down that it is alive every few seconds (`FleetSettings`), and not while the log cannot be written. */
export const aliveFor = Duration.seconds(20)

/** A device as its gateway knows it. */
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

  /** `pacing` null: as the server's default says. What is left out stays. */
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
   * Makes `owner` the owner of these devices and raises the epoch of each, ordered against all appends: what was
   * committed under an older epoch was committed before, and nothing under it will be. Ids without a device are left
   * out.
   */
  readonly claim: (
    owner: string,
    ids: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyMap<DeviceId, DeviceClaim>, StorageUnavailable>

  /** Records that `owner` is about to start these devices, and which of them it would be if it ended now. */
  readonly beginTrial: (owner: string, ids: ReadonlyArray<DeviceId>) => Effect.Effect<void, StorageUnavailable>
  /** It did not end. */
  readonly endTrial: (owner: string, ids: ReadonlyArray<DeviceId>) => Effect.Effect<void, StorageUnavailable>
  /** `owner` has run these devices for a while: the deaths of earlier processes do not count any more. */
  readonly forgetDeaths: (owner: string, ids: ReadonlyArray<DeviceId>) => Effect.Effect<void, StorageUnavailable>

  readonly handOvers: (
    ids: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyMap<DeviceId, HandOver>, StorageUnavailable>
  /**
   * The node that had these devices before has listened for each until the holder of this claim (`HandOver.claim`) was online,
   * and all that came is in the log. Changes nothing where that is not the device's last claim.
   */
  readonly confirmHandOvers: (claims: ReadonlyMap<DeviceId, string>) => Effect.Effect<void, StorageUnavailable>

  /**
   * The devices of these ids with their newest transitions, newest first, at most so many of each; all of one moment.
   * Ids without a device are left out.
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

  /** The process that has claimed the device, by host name and start; null where none has. */
  readonly owner: (id: DeviceId) => Effect.Effect<string | null, DeviceNotFound | StorageUnavailable>

  /** The processes that are alive or have devices, by name. */
  readonly owners: Effect.Effect<ReadonlyArray<DeviceOwner>, StorageUnavailable>

  /** Every device that should run, or whose recorded state says that it runs. Without ids, of all devices. */
  readonly desired: (
    ids?: ReadonlyArray<DeviceId>
  ) => Effect.Effect<ReadonlyArray<DesiredDevice>, StorageUnavailable>

  /**
   * The devices whose desired state may have changed: at once for this process's own writes, by LISTEN for those of
   * others. Null says that any device may have changed: it comes first, after a lost connection, and when the reader was
   * too slow. Repeats are possible.
   */
  readonly changes: Stream.Stream<DeviceId | null>

  /** Devices per recorded state tag. */
  readonly countByState: Effect.Effect<Readonly<Partial<Record<DeviceStateTag, number>>>, StorageUnavailable>
}>()("columba/services/DeviceRepository") {}
