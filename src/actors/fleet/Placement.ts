/**
 * Which devices the fleet of this process runs. Alone it runs all; in a cluster those of the shards that this node holds,
 * each from the moment in which its entity is there until that closes.
 */
import { Context, Duration, Effect } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"

export interface Placement {
  /** Whether it is on this fleet to decide about the device. */
  readonly owns: (id: DeviceId) => boolean
  /** Whether the device may run here, now. Never true where `owns` is not. */
  readonly holds: (id: DeviceId) => boolean
  /** Makes it hold these devices, as far as it owns them when their turn comes. */
  readonly enter: (ids: ReadonlyArray<DeviceId>) => Effect.Effect<void>
  /**
   * How long after another claim of a device that this fleet owns it claims it once more. A claim that an earlier owner had
   * begun may be carried out after ours; by then the earlier owner knows that it is none. Null: never.
   */
  readonly reclaimAfter: Duration.Duration | null
  /** Whether this is one of several fleets that share the devices, and take over those of one that ends. */
  readonly isShared: boolean
  /** Whether a device that leaves is claimed by another fleet at once, so that its session is kept open for that long. */
  readonly passesOn: () => boolean
}

const everywhere: Placement = {
  owns: () => true,
  holds: () => true,
  enter: () => Effect.void,
  reclaimAfter: null,
  isShared: false,
  passesOn: () => false
}

/** All devices, for a process that has the fleet's lease alone: one that has lost it learns of that within seconds, and stops. */
export const leased: Placement = { ...everywhere, reclaimAfter: Duration.minutes(1) }

export const Placement = Context.Reference<Placement>("columba/actors/fleet/Placement", {
  defaultValue: () => everywhere
})
