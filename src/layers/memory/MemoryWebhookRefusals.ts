/** Refused webhooks, in memory. */
import { Effect, Layer, PubSub, Stream } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"
import { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import type { WebhookRefusal } from "../../services/WebhookRefusals.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

/** One pending pulse is enough. */
const pulsesMax = 1

export const layer: Layer.Layer<WebhookRefusals, never, MemoryDatabase> = Layer.effect(
  WebhookRefusals,
  Effect.gen(function*() {
    const { now } = yield* MemoryDatabase
    const rows = new Map<DeviceId, WebhookRefusal>()
    const pulses = yield* PubSub.sliding<void>(pulsesMax)
    const iso = (ago: number): string => new Date(now() - ago).toISOString()
    return WebhookRefusals.of({
      report: (refusals) =>
        Effect.suspend(() => {
          for (const { deviceId, firstAgo, lastAgo } of refusals) {
            const known = rows.get(deviceId)
            const [firstAt, lastAt] = [iso(firstAgo), iso(lastAgo)]
            rows.set(deviceId, {
              deviceId,
              firstAt: known === undefined || firstAt < known.firstAt ? firstAt : known.firstAt,
              lastAt: known === undefined || lastAt > known.lastAt ? lastAt : known.lastAt
            })
          }
          return Effect.asVoid(PubSub.publish(pulses, undefined))
        }),
      list: Effect.sync(() => [...rows.values()].sort((a, b) => a.deviceId < b.deviceId ? -1 : 1)),
      remove: (refusals) =>
        Effect.sync(() => {
          for (const { deviceId, lastAt } of refusals) {
            const row = rows.get(deviceId)
            if (row !== undefined && row.lastAt <= lastAt) rows.delete(deviceId)
          }
        }),
      changes: Stream.unwrap(
        Effect.map(
          PubSub.subscribe(pulses),
          (subscription) => Stream.concat(Stream.make(undefined), Stream.fromSubscription(subscription))
        )
      )
    })
  })
)
