/** The `subscriptions` table in memory, over the cursors that the memory log keeps. */
import { Duration, Effect, Layer, PubSub, Stream } from "effect"
import { noHealth } from "../../domain/Subscription.ts"
import type { Delivery, Subscription, SubscriptionId } from "../../domain/Subscription.ts"
import { SubscriptionNotFound, TooManySubscriptions } from "../../domain/SubscriptionErrors.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"
import { nextEpoch } from "../../services/epochs.ts"
import { unconfirmedKeepMax } from "../../services/subscriptionBounds.ts"
import { formatCursorName, SubscriptionRepository, subscriptionsMax } from "../../services/SubscriptionRepository.ts"
import type { DeliveryRow, StoredSubscription } from "../../services/SubscriptionRepository.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"
import type { MemorySubscription } from "./MemoryDatabase.ts"

/** One pending change is enough: a reader reads the whole table. */
const changesMax = 1

type Row = MemorySubscription

interface NumberedDelivery {
  readonly ordinal: number
  readonly row: DeliveryRow
  readonly delivery: Delivery
}

export const layer: Layer.Layer<SubscriptionRepository, never, MemoryDatabase> = Layer.effect(
  SubscriptionRepository,
  Effect.gen(function*() {
    const { now, tables } = yield* MemoryDatabase
    const changes = yield* PubSub.sliding<void>(changesMax)
    const rows = tables.subscriptions
    let deliveries: Array<NumberedDelivery> = []
    let lastOrdinal = 0
    const isoNow = () => new Date(now()).toISOString()

    const find = (id: SubscriptionId): Effect.Effect<Row, SubscriptionNotFound> =>
      Effect.suspend(() => {
        const row = rows.get(id)
        return row === undefined ? Effect.fail(SubscriptionNotFound.of(id)) : Effect.succeed(row)
      })
    const show = ({ paused, subscription, ...row }: Row): StoredSubscription => ({
      ...row,
      subscription: {
        ...subscription,
        state: subscription.disabled !== null ? "disabled" : paused ? "paused" : "active"
      },
      confirmed: tables.cursors.get(formatCursorName(subscription.id))?.seq ?? 0
    })
    const put = (row: Row) =>
      Effect.suspend(() => {
        const changed = {
          ...row,
          subscription: { ...row.subscription, updatedAt: isoNow() },
          revision: row.revision + 1
        }
        rows.set(row.subscription.id, changed)
        return Effect.as(PubSub.publish(changes, undefined), show(changed))
      })
    const holds = (id: SubscriptionId, epoch: number) => tables.cursors.get(formatCursorName(id))?.epoch === epoch
    const withHealth = (row: Row, health: Partial<Subscription["health"]>): Row => ({
      ...row,
      subscription: { ...row.subscription, health: { ...row.subscription.health, ...health } }
    })

    return SubscriptionRepository.of({
      insert: ({ sealed, ...fields }, from) =>
        Effect.suspend(() => {
          if (rows.size >= subscriptionsMax) return Effect.fail(TooManySubscriptions.of(subscriptionsMax))
          tables.cursors.set(formatCursorName(fields.id), {
            epoch: 0,
            seq: from === "now" ? tables.head : tables.oldest - 1,
            keep: Duration.toMillis(unconfirmedKeepMax)
          })
          const at = isoNow()
          const subscription = {
            ...fields,
            state: "active" as const,
            disabled: null,
            previousSecretUntil: null,
            health: noHealth,
            createdAt: at,
            updatedAt: at
          }
          return put({ subscription, sealed, revision: 0, enabledTimes: 0, paused: false })
        }),
      get: (id) => Effect.map(find(id), show),
      list: Effect.sync(() => Array.from(rows.values(), show)),
      update: Effect.fnUntraced(function*(id, { paused, previousSecretFor, sealed, ...change }) {
        const before = yield* find(id)
        return yield* put({
          ...before,
          paused: paused ?? before.paused,
          sealed: sealed ?? before.sealed,
          subscription: {
            ...before.subscription,
            ...change,
            ...(previousSecretFor === undefined
              ? {}
              : { previousSecretUntil: new Date(now() + Duration.toMillis(previousSecretFor)).toISOString() })
          }
        })
      }),
      delete: Effect.fnUntraced(function*(id) {
        yield* find(id)
        rows.delete(id)
        tables.cursors.delete(formatCursorName(id))
        deliveries = deliveries.filter(({ row }) => row.subscriptionId !== id)
        yield* PubSub.publish(changes, undefined)
      }),
      enable: Effect.fnUntraced(function*(id) {
        const before = yield* find(id)
        const enabledTimes = before.enabledTimes + (before.subscription.disabled === null ? 0 : 1)
        const row = withHealth({ ...before, enabledTimes }, { failing: null })
        return yield* put({ ...row, subscription: { ...row.subscription, disabled: null } })
      }),
      moveTo: Effect.fnUntraced(function*(id, seq) {
        const before = yield* find(id)
        const cursor = tables.cursors.get(formatCursorName(id))
        if (cursor !== undefined) {
          tables.cursors.set(formatCursorName(id), { ...cursor, seq, epoch: nextEpoch(cursor.epoch, now()) })
        }
        return yield* put(withHealth(before, { held: [] }))
      }),
      saveHealth: (id, epoch, health) =>
        Effect.sync(() => {
          const row = rows.get(id)
          if (row === undefined || !holds(id, epoch)) return false
          rows.set(id, withHealth(row, health))
          return true
        }),
      disable: Effect.fnUntraced(function*(id, epoch, reason) {
        const row = rows.get(id)
        if (row === undefined || row.subscription.disabled !== null || !holds(id, epoch)) return false
        yield* put({ ...row, subscription: { ...row.subscription, disabled: { at: isoNow(), reason } } })
        return true
      }),
      recordDeliveries: (added) =>
        Effect.sync(() => {
          for (const row of added) {
            const { subscriptionId, ...delivery } = row
            if (rows.has(subscriptionId)) deliveries.push({ ordinal: ++lastOrdinal, row, delivery })
          }
        }),
      deliveries: Effect.fnUntraced(function*(id, options) {
        const before = options.cursor === undefined ? Infinity : Number(yield* decodeCursor(options.cursor, seqPattern))
        yield* find(id)
        const limit = pageLimit(options.limit)
        const found = deliveries.filter(({ ordinal, row }) =>
          row.subscriptionId === id && ordinal < before &&
          (options.outcome === undefined || row.outcome === options.outcome)
        ).toReversed()
        return {
          items: found.slice(0, limit).map(({ delivery }) => delivery),
          next: found.length > limit ? encodeCursor(String(found[limit - 1]!.ordinal)) : null
        }
      }),
      deleteDeliveries: (each, keep) =>
        Effect.sync(() => {
          const oldest = new Date(now() - Duration.toMillis(keep)).toISOString()
          const seen = new Map<SubscriptionId, number>()
          const kept = deliveries.toReversed().filter(({ row: { at, subscriptionId } }) => {
            const count = (seen.get(subscriptionId) ?? 0) + 1
            seen.set(subscriptionId, count)
            return count <= each && at >= oldest
          }).toReversed()
          const gone = deliveries.length - kept.length
          deliveries = kept
          return gone
        }),
      changes: Stream.fromPubSub(changes)
    })
  })
)
