/**
 * The right to run the fleet of a database. While Columba is not clustered, one process has it at a time: two would
 * each open a session for every device. The epochs of the devices guard what is decided; the lease prevents the fight.
 */
import { Context, Effect, Layer, Schema } from "effect"
import type { Scope } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"

/** Another process has the lease. `holder` says which, as far as the database knows. */
export class LeaseTaken extends Schema.TaggedError<LeaseTaken>()("LeaseTaken", {
  message: Schema.String,
  holder: Schema.String
}) {
  static of(holder: string): LeaseTaken {
    const message = `another process runs the devices of this database: ${holder}`
    return new LeaseTaken({ holder, message })
  }
}

export interface Lease {
  /**
   * Fails when another process has taken the lease, which it can once our connection to the database has broken. The
   * lease that breaks is taken again as soon as the database answers; that alone is no loss.
   */
  readonly lost: Effect.Effect<never, LeaseTaken>
}

export class FleetLease extends Context.Service<FleetLease, {
  /** Takes the lease and holds it for as long as the scope. */
  readonly acquire: Effect.Effect<Lease, LeaseTaken | StorageUnavailable, Scope.Scope>
}>()("columba/services/FleetLease") {
  /** For a database that no other process can open. */
  static readonly layerAlone = Layer.succeed(
    FleetLease,
    FleetLease.of({ acquire: Effect.succeed({ lost: Effect.never }) })
  )
}
