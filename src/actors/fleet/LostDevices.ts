/**
 * Devices that another process has claimed while this fleet ran them. An actor that the log refuses as stale only knows
 * that a later claim exists. The owner of that claim is looked up here, which determines whether this fleet may start the
 * device again.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { Placement } from "./Placement.ts"

/** Maximum number of concurrent look-ups of owners, if another process has claimed many devices. */
const ownersAtOnce = 8

export interface LostDevices {
  /** The log has refused the device's actor as stale. */
  readonly refused: (id: DeviceId) => void
  /** Looks up who owns the devices that were refused since the last call. */
  readonly settle: Effect.Effect<void, StorageUnavailable>
  /**
   * Claimed by another process since: claiming it again at once would start a fight. Or refused since the last `settle`:
   * the owner of the claim is not known yet.
   */
  readonly has: (id: DeviceId) => boolean
  readonly count: () => number
  /** The device may be claimed again: the placement has assigned or removed it. */
  readonly forget: (id: DeviceId) => void
  /** All may be claimed again: the claims that refused them no longer exist, because the database was replaced. */
  readonly forgetAll: () => void
}

/** `onAgain` is called with a device that may be claimed again after some time (`Placement.reclaimAfter`). */
export const make = Effect.fnUntraced(function*(
  owner: string,
  onAgain: (id: DeviceId) => void
): Effect.fn.Return<LostDevices, never, DeviceRepository | Scope.Scope> {
  const repository = yield* DeviceRepository
  const placement = yield* Placement
  const scope = yield* Effect.scope
  const refused = new Set<DeviceId>()
  const lost = new Set<DeviceId>()

  const lose = (id: DeviceId): Effect.Effect<void> =>
    Effect.suspend(() => {
      lost.add(id)
      if (placement.reclaimAfter === null) return Effect.void
      const again = Effect.sync(() => {
        if (lost.delete(id)) onAgain(id)
      })
      return Effect.asVoid(Effect.forkIn(Effect.delay(again, placement.reclaimAfter), scope))
    })

  /**
   * A claim that we abandoned because its answer did not come may be executed after the one that followed it. The device
   * then belongs to us under an epoch that no actor has, and is claimed once more.
   */
  const settleOne = (id: DeviceId) =>
    repository.owner(id).pipe(
      Effect.catchTag("DeviceNotFound", () => Effect.succeed(null)),
      Effect.flatMap((found) => {
        refused.delete(id)
        return found !== null && found !== owner && placement.owns(id) ? lose(id) : Effect.void
      })
    )

  return {
    refused: (id) => void refused.add(id),
    settle: Effect.suspend(() => Effect.forEach([...refused], settleOne, { concurrency: ownersAtOnce, discard: true })),
    has: (id) => lost.has(id) || refused.has(id),
    count: () => lost.size,
    forget: (id) => void lost.delete(id),
    forgetAll: () => {
      lost.clear()
      refused.clear()
    }
  }
})
