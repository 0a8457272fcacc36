/**
 * The right to run the fleet of a database. A process that is not part of a cluster holds it alone: two such would
 * each open a session for every device. The nodes of a cluster share it, and together exclude a process outside of the
 * cluster. The epochs of the devices guard decisions; the lease prevents two processes from competing for sessions.
 */
import { Context, Effect, Layer, Schema } from "effect"
import type { Scope } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"

/** Another process has the lease. `holder` describes it, as far as the database has it recorded. */
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
 * `node`: shared with the other nodes of a cluster, each of which has a unique name: two nodes with one name would
 * each treat the other's devices as their own. Null: a process of the cluster that runs no devices. `version`: of its
 * program; see `readRelease`.
 */
export type LeaseUse = "alone" | { readonly node: string | null; readonly version: string }

const minorsMax = 10_000

/**
 * A version as one number, from which adjacent releases differ by one. Processes of adjacent releases share a fleet,
 * so that a cluster is upgraded node by node. Others could misunderstand each other, or the database. A new major
 * version is adjacent to none.
 */
export const readRelease = (version: string): number => {
  const [major = 0, minor = 0] = version.split(".", 2).map((part) => Number.parseInt(part, 10) || 0)
  return major * minorsMax + Math.min(minor, minorsMax - 2)
}

export const formatRelease = (release: number): string => `${Math.floor(release / minorsMax)}.${release % minorsMax}`

export interface Lease {
  /**
   * Fails when another process has taken the lease, which is possible once this process's connection to the database
   * has broken. A broken lease is taken again as soon as the database answers; the break alone is no loss.
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
