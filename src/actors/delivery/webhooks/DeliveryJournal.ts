/**
 * Collects the attempts for the delivery log and writes them once per second, so that a busy subscription costs one
 * statement and not one per event. Attempts over the bound are dropped, successes first.
 */
import { Duration, Effect, Metric, Schedule } from "effect"
import type { Scope } from "effect"
import { Condition } from "../../../services/Condition.ts"
import * as Metrics from "../../../services/Metrics.ts"
import type { SubscriptionId } from "../../../domain/Subscription.ts"
import * as bounds from "../../../services/subscriptionBounds.ts"
import type { DeliveryRow, SubscriptionRepository } from "../../../services/SubscriptionRepository.ts"

const flushInterval = Duration.seconds(1)

/** Old attempts are deleted this often; in between, a subscription may have some thousand more. */
const deleteInterval = Duration.minutes(10)

export interface DeliveryJournal {
  readonly add: (row: DeliveryRow) => void
  readonly flush: Effect.Effect<void>
}

/** Runs with its scope. */
export const make = Effect.fnUntraced(function*(
  repository: SubscriptionRepository["Service"]
): Effect.fn.Return<DeliveryJournal, never, Scope.Scope> {
  const context = yield* Effect.context<never>()
  let waiting = new Map<SubscriptionId, Array<DeliveryRow>>()
  const added = new Condition()

  const add = (row: DeliveryRow): void => {
    const rows = waiting.get(row.subscriptionId) ?? []
    waiting.set(row.subscriptionId, rows)
    if (rows.length < bounds.deliveriesPerFlush) {
      rows.push(row)
      added.changed()
      return
    }
    Metrics.subscriptionDeliveriesUnlogged.updateUnsafe(1, context)
    if (row.outcome === "delivered") return
    const success = rows.findIndex(({ outcome }) => outcome === "delivered")
    rows.splice(success === -1 ? 0 : success, 1)
    rows.push(row)
  }

  const flush = Effect.suspend(() => {
    const rows = [...waiting.values()].flat()
    if (rows.length === 0) return Effect.void
    const taken = waiting
    waiting = new Map()
    return Effect.catch(repository.recordDeliveries(rows), () =>
      Effect.sync(() => {
        // If both do not fit, newer attempts take precedence.
        for (const [id, old] of taken) {
          waiting.set(id, [...old, ...waiting.get(id) ?? []].slice(-bounds.deliveriesPerFlush))
        }
      }))
  })

  const deleteOld = Effect.ignore(repository.deleteDeliveries(bounds.deliveriesKept, bounds.deliveriesKeptFor))

  yield* Effect.forkScoped(
    added.waitUntil(() => waiting.size > 0).pipe(
      Effect.andThen(Effect.sleep(flushInterval)),
      Effect.andThen(flush),
      Effect.catchDefect((defect) => Effect.logError("A defect in the delivery log", defect)),
      Effect.forever
    )
  )
  yield* Effect.forkScoped(Effect.delay(Effect.repeat(deleteOld, Schedule.spaced(deleteInterval)), deleteInterval))
  return { add, flush }
})

export const countDelivery = (outcome: string): Effect.Effect<void> =>
  Metric.update(Metric.withAttributes(Metrics.subscriptionDeliveries, { outcome }), 1)
