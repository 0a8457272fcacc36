/**
 * The right to run the fleet of a database. A process that is not part of a cluster has it alone: two such would each open
 * a session for every device. The nodes of a cluster share it, and together exclude a process that is none of them. The
 * epochs of the devices guard what is decided; the lease prevents the fight.
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

  static ofNode(node: string, holder: string): LeaseTaken {
    const message =
      `this node cannot be ${node}: another process is, or runs the devices of this database alone: ${holder}`
    return new LeaseTaken({ holder, message })
  }

  /** `release`: the other process's, as `major.minor`. */
  static ofRelease(version: string, release: string, holder: string): LeaseTaken {
    const message =
      `this process has version ${version}, and a process of ${release}.x is in the cluster: ${holder}. ` +
      "Versions share a fleet when they differ by one minor version at most"
    return new LeaseTaken({ holder, message })
  }
}

/**
 * `node`: shared with the other nodes of a cluster, each of which has a name of its own: two of one name would take each
 * other's devices for theirs. Null: a process of the cluster that runs no devices. `version`: of its program; see
 * `readRelease`.
 */
export type LeaseUse = "alone" | { readonly node: string | null; readonly version: string }

const minorsMax = 10_000

/**
 * A version as one number, which the releases next to it differ from by one. Processes of releases that are next to each other
 * share a fleet, so that a cluster is upgraded node by node. Others could misunderstand each other, or the database. A new
 * major version is next to none.
 */
export const readRelease = (version: string): number => {
  const [major = 0, minor = 0] = version.split(".", 2).map((part) => Number.parseInt(part, 10) || 0)
  return major * minorsMax + Math.min(minor, minorsMax - 2)
}

export const formatRelease = (release: number): string => `${Math.floor(release / minorsMax)}.${release % minorsMax}`

export interface Lease {
  /**
   * Fails when another process has taken the lease, which it can once our connection to the database has broken. The
   * lease that breaks is taken again as soon as the database answers; that alone is no loss.
   */
  readonly lost: Effect.Effect<never, LeaseTaken>
}

export class FleetLease extends Context.Service<FleetLease, {
  /** Takes the lease and holds it for as long as the scope. */
  readonly acquire: (use: LeaseUse) => Effect.Effect<Lease, LeaseTaken | StorageUnavailable, Scope.Scope>
}>()("columba/services/FleetLease") {
  /** For a database that no other process can open. */
  static readonly layerAlone = Layer.succeed(
    FleetLease,
    FleetLease.of({ acquire: () => Effect.succeed({ lost: Effect.never }) })
  )
}
