/**
 * Decides which devices the fleet of this process runs. A single process runs all; a node of a cluster runs those of its
 * shards, each from the activation of its entity until that closes.
 */
import { Context, Duration, Effect } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"

export interface Placement {
  /** Whether this fleet decides about the device. */
  readonly owns: (id: DeviceId) => boolean
  /** Whether the device may run here now. Never true if `owns` is false. */
  readonly holds: (id: DeviceId) => boolean
  /** Makes this fleet hold these devices, if it still owns them when their turn comes. */
  readonly enter: (ids: ReadonlyArray<DeviceId>) => Effect.Effect<void>
  /**
   * How long this fleet waits, after another claim of a device that it owns, before it claims the device again. A claim
   * that an earlier owner had begun may be executed after ours; after this time the earlier owner has noticed that it is no
   * longer the owner. Null: never.
   */
  readonly reclaimAfter: Duration.Duration | null
  /** Whether this is one of several fleets that share the devices, and take over the devices of a fleet that ends. */
  readonly isShared: boolean
  /** Whether another fleet claims a leaving device at once, so that its session is kept open until then. */
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

/**
 * All devices, for a process that has the fleet's lease alone: a process that has lost it notices within seconds, and
 * stops.
 */
export const leased: Placement = { ...everywhere, reclaimAfter: Duration.minutes(1) }

export const Placement = Context.Reference<Placement>("columba/actors/fleet/Placement", {
  defaultValue: () => everywhere
})
