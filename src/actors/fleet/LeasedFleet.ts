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
import { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import { FleetLease } from "../../services/FleetLease.ts"
import type { LeaseTaken } from "../../services/FleetLease.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import { GatewayDirectory } from "../../services/GatewayDirectory.ts"
import { Readiness } from "../../services/Readiness.ts"
import * as LocalFleet from "./LocalFleet.ts"

export interface LeasedFleet {
  /** The fleet that runs now, or none. */
  readonly fleet: DeviceFleet["Service"]
  /** Takes the lease and starts the fleet. It stops with the scope, the lease is given back with the other one. */
  readonly start: (
    leaseScope: Scope.Scope
  ) => Effect.Effect<
    void,
    LeaseTaken | StorageUnavailable,
    FleetLease | EventLog | DeviceRepository | GapRepository | GatewayDirectory | Scope.Scope
  >
}

export const make = (): LeasedFleet => {
  let current = noFleet

  const start = Effect.fn("LeasedFleet.start")(function*(leaseScope: Scope.Scope) {
    const { acquire } = yield* FleetLease
    const lease = yield* Scope.provide(acquire, leaseScope)
    const running = yield* Scope.fork(yield* Effect.scope)
    current = Context.get(yield* Layer.buildWithScope(LocalFleet.layer, running), DeviceFleet)
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
