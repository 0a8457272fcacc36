/**
 * A gateway that is down is one incident for all its devices. The first device that suspects it has the gateway probed; if
 * the probe fails too, every device of that gateway waits for the incident to end instead of retrying by itself, and a
 * single prober probes on a schedule. When the gateway answers, all are woken and reconnect through the connect gate.
 */
import { Cause, Clock, Deferred, Duration, Effect, Exit, Metric, Schedule } from "effect"
import type { Scope } from "effect"
import type { Failure } from "../../domain/DeviceState.ts"
import type { IncidentView } from "../../services/DeviceFleet.ts"
import * as Metrics from "../../services/Metrics.ts"
import { monotonicMillis } from "../../services/monotonic.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import { incidentProbeSchedule } from "../Supervision.ts"

/** A device that waits for the gateway. */
export interface Waiter {
  readonly incidentOver: () => void
}

export interface GatewayIncidents {
  /** The incident that is open now, if any. `probeAt` is the wall time of the next probe. */
  readonly current: () => { readonly failure: Failure; readonly probeAt: number } | null
  /**
   * Whether the gateway is really down. An open incident, or an answer of the last second, is used at once; otherwise the
   * gateway is probed, once for all devices that suspect it meanwhile.
   */
  readonly suspect: (failure: Failure) => Effect.Effect<boolean>
  readonly wait: (waiter: Waiter) => void
  readonly leave: (waiter: Waiter) => void
  readonly view: () => IncidentView | null
}

/**
 * How long a probe's positive answer is valid for further suspicions; without this, every refused device would probe again.
 */
const answerValidMillis = 1000

interface Incident {
  readonly failure: Failure
  /** By the wall clock for people, by the monotonic one for the length. */
  readonly since: { readonly wall: number; readonly monotonic: number }
  probeAt: number
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway
): Effect.fn.Return<GatewayIncidents, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const waiters = new Set<Waiter>()
  let incident: Incident | null = null
  let answeredAt = Number.NEGATIVE_INFINITY
  let asking: Deferred.Deferred<boolean> | null = null

  /** A defect in a probe proves nothing about the gateway; it must end neither the prober nor a device. */
  const probe: Effect.Effect<"answers" | "down" | "unknown"> = Effect.exit(gateway.probe).pipe(
    Effect.flatMap((exit) => {
      if (Exit.isSuccess(exit)) {
        answeredAt = monotonicMillis(clock)
        return Effect.succeed("answers" as const)
      }
      if (Cause.hasInterrupts(exit.cause)) return Effect.interrupt
      if (!Cause.hasDies(exit.cause)) return Effect.succeed("down" as const)
      return Effect.as(
        Effect.annotateLogs(Effect.logError("a probe of a gateway crashed", exit.cause), { gateway: gateway.name }),
        "unknown" as const
      )
    })
  )

  const end = Effect.fnUntraced(function*(over: Incident) {
    incident = null
    const woken = [...waiters]
    waiters.clear()
    for (const waiter of woken) waiter.incidentOver()
    yield* Metric.modify(Metrics.incidentsOpen, -1)
    yield* Effect.logInfo("gateway answers again").pipe(Effect.annotateLogs({
      gateway: gateway.name,
      seconds: Math.round((monotonicMillis(clock) - over.since.monotonic) / 1000),
      devices: woken.length
    }))
  })

  const prober = Effect.fnUntraced(function*(over: Incident) {
    const step = yield* Schedule.toStep(incidentProbeSchedule)
    while (incident === over) {
      const [, delay] = yield* Effect.orDie(step(monotonicMillis(clock), undefined))
      over.probeAt = clock.currentTimeMillisUnsafe() + Duration.toMillis(delay)
      yield* Effect.sleep(delay)
      if ((yield* probe) === "answers") return yield* end(over)
    }
  })

  const begin = Effect.fnUntraced(function*(failure: Failure) {
    const wall = clock.currentTimeMillisUnsafe()
    const over: Incident = { failure, since: { wall, monotonic: monotonicMillis(clock) }, probeAt: wall }
    incident = over
    yield* Effect.forkIn(prober(over), scope)
    yield* Metric.modify(Metrics.incidentsOpen, 1)
    yield* Effect.logWarning("gateway is down; its devices wait for it").pipe(
      Effect.annotateLogs({ gateway: gateway.name, code: failure.code, detail: failure.detail })
    )
  })

  /** Runs in a separate fiber: stopping a device that waits for the answer must not cancel it for the others. */
  const ask = (failure: Failure, answer: Deferred.Deferred<boolean>): Effect.Effect<void> =>
    Effect.flatMap(probe, (answer) => answer === "down" ? Effect.as(begin(failure), true) : Effect.succeed(false)).pipe(
      Effect.onExit((exit) =>
        Effect.sync(() => {
          asking = null
          Deferred.doneUnsafe(answer, exit)
        })
      ),
      Effect.ignoreCause
    )

  const suspect = (failure: Failure): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      if (incident !== null) return Effect.succeed(true)
      if (asking !== null) return Deferred.await(asking)
      if (monotonicMillis(clock) - answeredAt < answerValidMillis) return Effect.succeed(false)
      const answer = Deferred.makeUnsafe<boolean>()
      asking = answer
      return Effect.andThen(Effect.forkIn(ask(failure, answer), scope), Deferred.await(answer))
    })

  yield* Effect.addFinalizer(() => incident === null ? Effect.void : Metric.modify(Metrics.incidentsOpen, -1))

  return {
    current: () => incident,
    suspect,
    wait: (waiter) => {
      // The incident may have ended between the suspicion and now: then no later event would wake this device.
      if (incident === null) waiter.incidentOver()
      else waiters.add(waiter)
    },
    leave: (waiter) => {
      waiters.delete(waiter)
    },
    view: () =>
      incident === null ? null : {
        gateway: gateway.name,
        since: new Date(incident.since.wall).toISOString(),
        reason: incident.failure.detail,
        nextProbeAt: new Date(incident.probeAt).toISOString(),
        waiting: waiters.size
      }
  }
})
