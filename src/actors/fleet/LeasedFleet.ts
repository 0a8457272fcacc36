/**
 * The fleet of a process, for as long as the process holds the fleet's lease. `DeviceFleet` is there from the start and
 * answers for no devices until the fleet runs, so that what only asks (HTTP) can be built before it.
 *
 * Should another process take the lease, which it can once our connection to the database has broken, the fleet here
 * stops and readiness says so. It is not started again: two processes with the role `devices` are a mistake of the
 * deployment, which a fight would only hide.
 */
import { Context, Effect, Exit, Layer, Option, Scope, Stream } from "effect"
import type { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import { DeviceFleet, noFleet } from "../../services/DeviceFleet.ts"
import { FleetLease } from "../../services/FleetLease.ts"
import type { LeaseTaken, LeaseUse } from "../../services/FleetLease.ts"
import { Readiness } from "../../services/Readiness.ts"
import { leased, Placement } from "./Placement.ts"

export interface LeasedFleetOptions<E, R> {
  /** The lease is given back with it, and not before the fleet has stopped. */
  readonly leaseScope: Scope.Scope
  readonly use: LeaseUse
  /** What runs under the lease. */
  readonly layer: Layer.Layer<DeviceFleet, E, R>
}

export interface LeasedFleet {
  /** The fleet that runs now, or none. */
  readonly fleet: DeviceFleet["Service"]
  /** Takes the lease and starts the fleet. It stops with the scope. */
  readonly start: <E, R>(
    options: LeasedFleetOptions<E, R>
  ) => Effect.Effect<void, E | LeaseTaken | StorageUnavailable, R | FleetLease | Scope.Scope>
  /** Only asks the fleets of others, for as long as the scope, as a process of this version. */
  readonly ask: <E, R>(
    options: LeasedFleetOptions<E, R>
  ) => Effect.Effect<void, E | LeaseTaken | StorageUnavailable, R | FleetLease | Scope.Scope>
}

export const make = (): LeasedFleet => {
  let current = noFleet

  const build = Effect.fnUntraced(function*<E, R>(layer: Layer.Layer<DeviceFleet, E, R>) {
    current = Context.get(yield* Layer.build(layer), DeviceFleet)
  })

  /** Its lease excludes others only by their versions, so it cannot be lost to one. */
  const ask = Effect.fnUntraced(function*<E, R>(options: LeasedFleetOptions<E, R>) {
    const { acquire } = yield* FleetLease
    yield* Scope.provide(acquire(options.use), options.leaseScope)
    yield* build(options.layer)
  })

  const start = Effect.fn("LeasedFleet.start")(function*<E, R>(options: LeasedFleetOptions<E, R>) {
    const { acquire } = yield* FleetLease
    const lease = yield* Scope.provide(acquire(options.use), options.leaseScope)
    const running = yield* Scope.fork(yield* Effect.scope)
    // In a cluster each node has a placement of its own.
    yield* Scope.provide(build(Layer.provide(options.layer, Layer.succeed(Placement, leased))), running)
    const stop = Effect.fnUntraced(function*(taken: LeaseTaken) {
      current = noFleet
      const readiness = yield* Effect.serviceOption(Readiness)
      if (Option.isSome(readiness)) yield* readiness.value.contribute("fleet", Effect.fail(taken.message))
      yield* Effect.logError(`The fleet stops: ${taken.message}. Stop one of the two processes and restart the other`)
      yield* Scope.close(running, Exit.void)
    })
    yield* Effect.forkScoped(Effect.catchTag(lease.lost, "LeaseTaken", stop))
  })

  return {
    start,
    ask,
    fleet: DeviceFleet.of({
      view: (id) => Effect.suspend(() => current.view(id)),
      reportStatus: (id, status) => Effect.suspend(() => current.reportStatus(id, status)),
      heard: (id, events, repeats) => Effect.suspend(() => current.heard(id, events, repeats)),
      refused: (id) => Effect.suspend(() => current.refused(id)),
      reportSilence: (id, detail) => Effect.suspend(() => current.reportSilence(id, detail)),
      loggedOut: (id) => Effect.suspend(() => current.loggedOut(id)),
      incidents: Effect.suspend(() => current.incidents),
      backfills: Effect.suspend(() => current.backfills),
      counts: Effect.suspend(() => current.counts),
      reconcile: Effect.suspend(() => current.reconcile),
      logins: {
        follow: (id, request) => Stream.suspend(() => current.logins.follow(id, request)),
        begin: (id, request) => Effect.suspend(() => current.logins.begin(id, request)),
        current: (id) => Effect.suspend(() => current.logins.current(id)),
        cancel: (id) => Effect.suspend(() => current.logins.cancel(id)),
        answerPasskey: (id, assertion) => Effect.suspend(() => current.logins.answerPasskey(id, assertion))
      }
    })
  }
}
