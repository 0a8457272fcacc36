/** The contract of the repository of subscriptions, for every storage. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Stream } from "effect"
import type { Layer } from "effect"
import { noHealth } from "../../src/domain/Subscription.ts"
import type { SubscriptionHealth, SubscriptionId } from "../../src/domain/Subscription.ts"
import { makeEventId } from "../../src/services/EventIdentity.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { formatCursorName, SubscriptionRepository } from "../../src/services/SubscriptionRepository.ts"
import type { DeliveryRow, SubscriptionFields } from "../../src/services/SubscriptionRepository.ts"
import { freshDevice, messageDraft } from "../support/drafts.ts"

let count = 0
const freshId = () => `sub_${String(++count).padStart(26, "0")}` as SubscriptionId

const fields = (change: Partial<SubscriptionFields> = {}): SubscriptionFields => ({
  id: freshId(),
  name: null,
  url: "https://hooks.example.com/columba",
  kinds: null,
  devices: null,
  headers: [],
  rateLimit: null,
  sealed: { secret: "v1.sealed", previousSecret: null, headers: null },
  ...change
})

const attempt = (subscriptionId: SubscriptionId, seq: number, change: Partial<DeliveryRow> = {}): DeliveryRow => ({
  subscriptionId,
  eventId: makeEventId(seq),
  seq,
  kind: "message.received",
  deviceId: freshDevice(),
  attempt: 1,
  at: "2026-11-22T10:04:11.440Z",
  outcome: "delivered",
  status: 204,
  millis: 12,
  detail: null,
  abandoned: false,
  ...change
})

export const subscriptionRepositoryConformance = (
  name: string,
  storage: Layer.Layer<SubscriptionRepository | EventLog>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`subscriptions ${name}`, (it) => {
    it.effect("are stored unchanged, each with a cursor at the beginning or at the end", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const log = yield* EventLog
        yield* log.append([messageDraft({ device: freshDevice() })])
        const { head, oldest } = yield* log.bounds
        const wanted = fields({
          name: "Orders",
          kinds: ["message.received", "gateway.call.offer"],
          devices: [freshDevice()],
          headers: ["authorization"],
          rateLimit: 5
        })
        const made = yield* subscriptions.insert(wanted, "now")
        const { id, sealed, ...asked } = wanted
        assert.deepInclude(made.subscription, { id, ...asked, state: "active", disabled: null, health: noHealth })
        assert.deepStrictEqual([made.sealed, made.confirmed, made.enabledTimes], [sealed, head, 0])
        assert.deepStrictEqual(yield* subscriptions.get(id), made)
        const first = yield* subscriptions.insert(fields(), "beginning")
        assert.strictEqual(first.confirmed, oldest - 1)
        const ids = (yield* subscriptions.list).map(({ subscription }) => subscription.id)
        assert.deepStrictEqual(ids.slice(-2), [id, first.subscription.id])
        assert.deepInclude(yield* log.cursors, { sink: formatCursorName(id), epoch: 0, seq: head, limited: true })
      }))

    it.effect("change only in the named fields, with a new revision each time", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const { revision, subscription: { id } } = yield* subscriptions.insert(
          fields({ name: "one", kinds: ["message.ack"], rateLimit: 3, headers: ["x-a"] }),
          "now"
        )
        const paused = yield* subscriptions.update(id, { paused: true })
        assert.deepInclude(paused.subscription, { state: "paused", name: "one", kinds: ["message.ack"], rateLimit: 3 })
        const cleared = yield* subscriptions.update(id, {
          paused: false,
          name: null,
          kinds: null,
          rateLimit: null,
          headers: [],
          url: "https://other.example.com/"
        })
        assert.deepInclude(cleared.subscription, {
          state: "active",
          name: null,
          kinds: null,
          rateLimit: null,
          url: "https://other.example.com/"
        })
        assert.deepStrictEqual(cleared.subscription.headers, [])
        const sealed = { secret: "new", previousSecret: "v1.sealed", headers: null }
        const rotated = yield* subscriptions.update(id, { sealed, previousSecretFor: Duration.hours(1) })
        assert.deepStrictEqual(rotated.sealed, sealed)
        assert.isNotNull(rotated.subscription.previousSecretUntil)
        assert.isAbove(rotated.revision, cleared.revision)
        assert.isAbove(cleared.revision, revision)
      }))

    it.effect("are disabled and enabled; health is recorded only under the claim that holds the cursor", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const log = yield* EventLog
        const { revision, subscription: { id } } = yield* subscriptions.insert(fields(), "now")
        const first = (yield* log.resumeCursor(formatCursorName(id)))!
        const second = (yield* log.resumeCursor(formatCursorName(id)))!
        assert.isAbove(second.epoch, first.epoch)
        const failing: SubscriptionHealth = {
          failing: {
            since: "2026-11-22T10:04:11.440Z",
            attempts: 3,
            attemptsMax: 150,
            outcome: "failed",
            status: 500,
            detail: null
          },
          held: [{
            deviceId: freshDevice(),
            seq: 7,
            since: "2026-11-22T10:04:11.440Z",
            attempts: 2,
            outcome: "refused",
            status: 422
          }],
          abandoned: 1,
          expired: 4,
          lastDeliveredAt: null
        }
        assert.isFalse(yield* subscriptions.saveHealth(id, first.epoch, failing))
        assert.isTrue(yield* subscriptions.saveHealth(id, second.epoch, failing))
        assert.isFalse(yield* subscriptions.disable(id, first.epoch, "gone"))
        assert.isTrue(yield* subscriptions.disable(id, second.epoch, "failing"))
        assert.isFalse(yield* subscriptions.disable(id, second.epoch, "gone"))
        const disabled = yield* subscriptions.get(id)
        assert.strictEqual(disabled.subscription.state, "disabled")
        assert.strictEqual(disabled.subscription.disabled?.reason, "failing")
        assert.deepStrictEqual(disabled.subscription.health, failing)
        assert.isAbove(disabled.revision, revision)
        const enabled = yield* subscriptions.enable(id)
        assert.deepStrictEqual([enabled.subscription.state, enabled.enabledTimes], ["active", 1])
        assert.deepStrictEqual(enabled.subscription.health, { ...failing, failing: null })
        assert.strictEqual((yield* subscriptions.enable(id)).enabledTimes, 1)
      }))

    it.effect("move to another position, and their cursor is taken from its holder", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const log = yield* EventLog
        const { subscription: { id } } = yield* subscriptions.insert(fields(), "now")
        yield* log.append(Array.from({ length: 3 }, () => messageDraft({ device: freshDevice() })))
        const claim = (yield* log.resumeCursor(formatCursorName(id)))!
        const held = [{
          deviceId: freshDevice(),
          seq: 1,
          since: "2026-11-22T10:04:11.440Z",
          attempts: 1,
          outcome: "refused" as const,
          status: 422
        }]
        yield* subscriptions.saveHealth(id, claim.epoch, { ...noHealth, held })
        const moved = yield* subscriptions.moveTo(id, claim.seq - 1)
        assert.strictEqual(moved.confirmed, claim.seq - 1)
        assert.deepStrictEqual(moved.subscription.health.held, [])
        assert.strictEqual((yield* Effect.flip(log.moveCursor(claim, claim.seq + 1)))._tag, "CursorLost")
        assert.strictEqual((yield* log.resumeCursor(formatCursorName(id)))!.seq, claim.seq - 1)
      }))

    it.effect("keep the events of a device that is held back, beyond their cursor and as long as it waits", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const log = yield* EventLog
        for (const { subscription } of yield* subscriptions.list) yield* subscriptions.delete(subscription.id)
        const { subscription: { id } } = yield* subscriptions.insert(fields(), "now")
        const claim = (yield* log.resumeCursor(formatCursorName(id)))!
        const device = freshDevice()
        const drafts = [device, freshDevice(), device, freshDevice(), freshDevice()].map((one) =>
          messageDraft({ device: one })
        )
        yield* log.append(drafts)
        const hold = (seqs: ReadonlyArray<number>) => {
          const held = seqs.map((seq) => ({
            deviceId: seq === claim.seq + 4 ? freshDevice() : device,
            seq,
            since: "2026-11-22T10:04:11.440Z",
            attempts: 1,
            outcome: "refused" as const,
            status: 422
          }))
          return subscriptions.saveHealth(id, claim.epoch, { ...noHealth, held })
        }
        const oldest = log.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) }).pipe(
          Effect.andThen(Effect.map(log.bounds, (bounds) => bounds.oldest - claim.seq))
        )
        yield* hold([claim.seq + 4, claim.seq + 1])
        yield* log.moveCursor(claim, claim.seq + 5)
        assert.strictEqual(yield* oldest, 1)
        yield* hold([claim.seq + 4, claim.seq + 3])
        assert.strictEqual(yield* oldest, 3, "another event of the device is tried")
        yield* log.claimCursor(formatCursorName(id), "now", Duration.zero)
        assert.strictEqual(yield* oldest, 5, "no longer than for a subscription that has not come to them")
      }))

    it.effect("are deleted with their cursor and their attempts; unknown ids are reported", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const log = yield* EventLog
        const { subscription: { id } } = yield* subscriptions.insert(fields(), "now")
        yield* subscriptions.recordDeliveries([attempt(id, 1)])
        yield* subscriptions.delete(id)
        assert.isNull(yield* log.resumeCursor(formatCursorName(id)))
        assert.notInclude((yield* log.cursors).map(({ sink }) => sink), formatCursorName(id))
        yield* subscriptions.recordDeliveries([attempt(id, 2)])
        assert.isFalse(yield* subscriptions.saveHealth(id, 1, noHealth))
        const failed = [
          subscriptions.get(id),
          subscriptions.update(id, {}),
          subscriptions.delete(id),
          subscriptions.enable(id),
          subscriptions.moveTo(id, 0),
          subscriptions.deliveries(id, { limit: 1 })
        ]
        const tags = yield* Effect.forEach(
          failed,
          (one) => Effect.map(Effect.flip<unknown, { readonly _tag: string }, never>(one), ({ _tag }) => _tag)
        )
        assert.deepStrictEqual(new Set(tags), new Set(["SubscriptionNotFound"]))
      }))

    it.effect("list their attempts newest first, page by page, by outcome, and lose old ones", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const { subscription: { id } } = yield* subscriptions.insert(fields(), "now")
        const other = yield* subscriptions.insert(fields(), "now")
        const at = new Date().toISOString()
        const rows = Array.from({ length: 6 }, (_, index) =>
          attempt(id, index + 1, {
            at,
            ...(index === 2 ? { outcome: "failed", status: 500, detail: null } : {}),
            ...(index === 3 ? { outcome: "timeout", status: null, detail: "no answer", abandoned: true } : {})
          }))
        yield* subscriptions.recordDeliveries([attempt(other.subscription.id, 99, { at }), ...rows])
        const first = yield* subscriptions.deliveries(id, { limit: 4 })
        assert.deepStrictEqual(first.items.map(({ seq }) => seq), [6, 5, 4, 3])
        const { subscriptionId: _, ...expected } = rows[3]!
        assert.deepStrictEqual(first.items[2], expected)
        const second = yield* subscriptions.deliveries(id, { limit: 4, cursor: first.next! })
        assert.deepStrictEqual([second.items.map(({ seq }) => seq), second.next], [[2, 1], null])
        const failed = yield* subscriptions.deliveries(id, { limit: 4, outcome: "failed" })
        assert.deepStrictEqual(failed.items.map(({ seq }) => seq), [3])
        const wrong = yield* Effect.flip(subscriptions.deliveries(id, { limit: 4, cursor: "nonsense" }))
        assert.strictEqual(wrong._tag, "CursorInvalid")

        yield* subscriptions.recordDeliveries([attempt(other.subscription.id, 98, { at: "2020-01-01T00:00:00.000Z" })])
        yield* subscriptions.deleteDeliveries(2, Duration.days(30))
        const kept = yield* subscriptions.deliveries(id, { limit: 10 })
        assert.deepStrictEqual(kept.items.map(({ seq }) => seq), [6, 5])
      }))

    it.effect("pulse when one has changed", () =>
      Effect.gen(function*() {
        const subscriptions = yield* SubscriptionRepository
        const { subscription: { id } } = yield* subscriptions.insert(fields(), "now")
        const heard = yield* Effect.forkChild(subscriptions.changes.pipe(Stream.take(2), Stream.runDrain))
        while (heard.pollUnsafe() === undefined) {
          yield* subscriptions.update(id, { name: "changed" })
          yield* Effect.yieldNow
        }
        yield* Fiber.join(heard)
      }))
  })
}
