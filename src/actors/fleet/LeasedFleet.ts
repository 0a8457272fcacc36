/**
 * The fleet of a process, for as long as the process holds the fleet's lease. `DeviceFleet` is available from the start and
 * has no devices until the fleet runs, so that layers that only send requests (HTTP) can be built before it.
 *
 * If another process takes the lease, which it can once our connection to the database has broken, this fleet stops and
 * readiness reports it. It is not started again: two processes with the role `devices` are a deployment mistake, which
 * alternating restarts would only hide.
 */
import { Context, Effect, Exit, Layer, Option, Scope, Stream } from "effect"
import { DeviceFleet, noFleet } from "../../services/DeviceFleet.ts"
import type { Lease, LeaseTaken } from "../../services/FleetLease.ts"
import { Readiness } from "../../services/Readiness.ts"
import { leased, Placement } from "./Placement.ts"

export interface LeasedFleet {
  /** The fleet that runs now, or none. */
  readonly fleet: DeviceFleet["Service"]
  /** Starts the fleet under the lease, which must outlive it. It stops with the scope. */
  readonly start: <E, R>(
    lease: Lease,
    layer: Layer.Layer<DeviceFleet, E, R>
  ) => Effect.Effect<void, E, R | Scope.Scope>
  /**
   * Only sends requests to the fleets of others, until the scope closes. The lease of such a process conflicts with others
   * only by their versions, so another process cannot take it.
   */
  readonly ask: <E, R>(layer: Layer.Layer<DeviceFleet, E, R>) => Effect.Effect<void, E, R | Scope.Scope>
}

export const make = (): LeasedFleet => {
  let current = noFleet

  const build = Effect.fnUntraced(function*<E, R>(layer: Layer.Layer<DeviceFleet, E, R>) {
    current = Context.get(yield* Layer.build(layer), DeviceFleet)
  })

  const start = Effect.fn("LeasedFleet.start")(function*<E, R>(lease: Lease, layer: Layer.Layer<DeviceFleet, E, R>) {
    const running = yield* Scope.fork(yield* Effect.scope)
    // In a cluster, each node has its own placement.
    yield* Scope.provide(build(Layer.provide(layer, Layer.succeed(Placement, leased))), running)
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
    ask: build,
    fleet: DeviceFleet.of({
      view: (id) => Effect.suspend(() => current.view(id)),
      reportStatus: (id, status) => Effect.suspend(() => current.reportStatus(id, status)),
      receiveWebhook: (id, events, repeats) => Effect.suspend(() => current.receiveWebhook(id, events, repeats)),
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
