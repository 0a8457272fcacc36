/**
 * A gateway that is down is one incident for all its devices. The first device that suspects it has the gateway probed;
 * if the probe fails too, every device of that gateway waits for the incident to end instead of trying by itself, and
 * one prober asks on a schedule. When the gateway answers, all are woken and come back through the connect gate.
 */
import { Clock, Duration, Effect, Metric, Schedule, Semaphore } from "effect"
import type { Scope } from "effect"
import type { Failure } from "../../domain/DeviceState.ts"
import type { IncidentView } from "../../services/DeviceFleet.ts"
import * as Metrics from "../../services/Metrics.ts"
import type { WhatsAppGateway } from "../../services/WhatsAppGateway.ts"
import { incidentProbeSchedule } from "../Supervision.ts"

/** Somebody who waits for the gateway. */
export interface Waiter {
  readonly incidentOver: () => void
}

export interface GatewayIncidents {
  /** The incident that is open now, if any. */
  readonly current: () => { readonly failure: Failure; readonly probeAt: number } | null
  /** Asks whether the gateway is really down. Many suspicions at once cost one probe. */
  readonly suspect: (failure: Failure) => Effect.Effect<boolean>
  readonly wait: (waiter: Waiter) => void
  readonly leave: (waiter: Waiter) => void
  readonly view: () => IncidentView | null
}

/** A probe's good answer covers suspicions for this long; without it every refused device would probe again. */
const answerValidMillis = 1000

interface Incident {
  readonly failure: Failure
  readonly since: number
  probeAt: number
}

export const make = Effect.fnUntraced(function*(
  gateway: WhatsAppGateway
): Effect.fn.Return<GatewayIncidents, never, Scope.Scope> {
  const scope = yield* Effect.scope
  const clock = yield* Clock.Clock
  const probing = Semaphore.makeUnsafe(1)
  const waiters = new Set<Waiter>()
  let incident: Incident | null = null
  let answeredAt = Number.NEGATIVE_INFINITY

  const end = Effect.fnUntraced(function*(over: Incident) {
    incident = null
    answeredAt = clock.currentTimeMillisUnsafe()
    const woken = [...waiters]
    waiters.clear()
    yield* Metric.modify(Metrics.incidentsOpen, -1)
    yield* Effect.logInfo("gateway answers again").pipe(Effect.annotateLogs({
      gateway: gateway.name,
      seconds: Math.round((answeredAt - over.since) / 1000),
      devices: woken.length
    }))
    for (const waiter of woken) waiter.incidentOver()
  })

  const prober = Effect.fnUntraced(function*(over: Incident) {
    const step = yield* Schedule.toStep(incidentProbeSchedule)
    while (incident === over) {
      const now = clock.currentTimeMillisUnsafe()
      const [, delay] = yield* Effect.orDie(step(now, undefined))
      over.probeAt = now + Duration.toMillis(delay)
      yield* Effect.sleep(delay)
      if (yield* Effect.isSuccess(gateway.probe)) return yield* end(over)
    }
  })

  const begin = Effect.fnUntraced(function*(failure: Failure) {
    const now = clock.currentTimeMillisUnsafe()
    const over: Incident = { failure, since: now, probeAt: now }
    incident = over
    yield* Metric.modify(Metrics.incidentsOpen, 1)
    yield* Effect.logWarning("gateway is down; its devices wait for it").pipe(
      Effect.annotateLogs({ gateway: gateway.name, code: failure.code, detail: failure.detail })
    )
    yield* Effect.forkIn(prober(over), scope)
  })

  const suspect = Effect.fnUntraced(function*(failure: Failure) {
    if (incident !== null) return true
    if (clock.currentTimeMillisUnsafe() - answeredAt < answerValidMillis) return false
    if (yield* Effect.isSuccess(gateway.probe)) {
      answeredAt = clock.currentTimeMillisUnsafe()
      return false
    }
    yield* begin(failure)
    return true
  })

  return {
    current: () => incident,
    suspect: (failure) => Semaphore.withPermit(probing, Effect.uninterruptible(suspect(failure))),
    wait: (waiter) => {
      // The incident may have ended between the suspicion and now: then nobody would come to wake this one.
      if (incident === null) waiter.incidentOver()
      else waiters.add(waiter)
    },
    leave: (waiter) => {
      waiters.delete(waiter)
    },
    view: () =>
      incident === null ? null : {
        gateway: gateway.name,
        since: new Date(incident.since).toISOString(),
        reason: incident.failure.detail,
        nextProbeAt: new Date(incident.probeAt).toISOString(),
        waiting: waiters.size
      }
  }
})
