/**
 * Whether this node of a cluster may still act for its devices at their gateways. Others take a node's devices over
 * when its lease ends by the database's clock. The node cannot read that clock before each call, so it measures from
 * the beginning of its last renewal, which is before the lease began: by its own clocks the lease ends early, never
 * late.
 *
 * The monotonic clock stops while a machine is suspended, and the wall clock may be set back, so both must agree. A
 * wall clock that is set forward delays calls until the next renewal.
 */
import { Context, Duration, Effect } from "effect"
import type { Clock } from "effect"
import { Condition } from "./Condition.ts"
import { monotonicMillis } from "./monotonic.ts"

export interface NodeLease {
  /** Must be checked right before a call whose effect cannot be undone. */
  readonly held: () => boolean
  /** Returns at once while the lease is held, and otherwise when it has been renewed. */
  readonly whenHeld: Effect.Effect<void>
  /** Whether the last due renewal succeeded: if not, the database does not answer. */
  readonly fresh: () => boolean
}

/** Always held in a process that is not a node of a cluster: it has the whole fleet's lease (`FleetLease`). */
export const NodeLease = Context.Reference<NodeLease>("columba/services/NodeLease", {
  defaultValue: () => ({ held: () => true, whenHeld: Effect.void, fresh: () => true })
})

export interface RenewedLease extends NodeLease {
  /** Runs a renewal. If it succeeds, the lease counts from when the renewal began. */
  readonly renewing: <A, E, R>(renewal: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
}

/** Not held before the first renewal. */
export const make = (clock: Clock.Clock, lease: Duration.Duration): RenewedLease => {
  const read = () => ({ monotonic: monotonicMillis(clock), wall: clock.currentTimeMillisUnsafe() })
  const length = Duration.toMillis(lease)
  const renewed = new Condition()
  let since = { monotonic: Number.NEGATIVE_INFINITY, wall: Number.NEGATIVE_INFINITY }
  const held = () => {
    const { monotonic, wall } = read()
    return monotonic - since.monotonic < length && wall - since.wall < length
  }
  return {
    held,
    whenHeld: renewed.waitUntil(held),
    // It is renewed after a third, so half of it has passed only if that failed.
    fresh: () => read().monotonic - since.monotonic < length / 2,
    renewing: (renewal) =>
      Effect.suspend(() => {
        const began = read()
        return Effect.tap(renewal, () =>
          Effect.sync(() => {
            // An earlier renewal may answer after a later one.
            if (began.monotonic < since.monotonic) return
            since = began
            renewed.changed()
          }))
      })
  }
}
