/** The contract of every inbox of handled messages. */
import { assert, layer } from "@effect/vitest"
import { Deferred, Duration, Effect, Fiber } from "effect"
import type { Layer } from "effect"
import type { EventId } from "../../src/domain/Ids.ts"
import { makeEventId } from "../../src/services/EventIdentity.ts"
import { MessageInbox } from "../../src/services/MessageInbox.ts"
import type { Verdict } from "../../src/services/MessageInbox.ts"
import { until } from "../support/until.ts"

const again = (): Verdict => ({ _tag: "Again", after: Duration.zero })
const later = (): Verdict => ({ _tag: "Again", after: Duration.hours(1) })
const dead = (): Verdict => ({ _tag: "Dead" })

let seq = 1_000

const freshEntry = () => ({ handler: "orders", eventId: makeEventId(Date.now()), seq: ++seq })

export const messageInboxConformance = (name: string, storage: Layer.Layer<MessageInbox>): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`inbox of handled messages ${name}`, (it) => {
    const fresh = Effect.sync(freshEntry)

    it.effect("runs a commit once per event and handler, and never once it is noted", () =>
      Effect.gen(function*() {
        const inbox = yield* MessageInbox
        const entry = yield* fresh
        let ran = 0
        const commit = Effect.sync(() => void ran++)
        assert.isFalse(yield* inbox.isDone("orders", entry.eventId))
        assert.isTrue(yield* inbox.once(entry, commit))
        assert.isFalse(yield* inbox.once(entry, commit))
        assert.isTrue(yield* inbox.isDone("orders", entry.eventId))
        assert.isTrue(yield* inbox.once({ ...entry, handler: "bills" }, commit))
        assert.strictEqual(ran, 2)
      }))

    it.effect("notes nothing if the commit fails, so that a redelivery runs it", () =>
      Effect.gen(function*() {
        const inbox = yield* MessageInbox
        const entry = yield* fresh
        assert.strictEqual(yield* Effect.flip(inbox.once(entry, Effect.fail("no" as const))), "no")
        assert.isFalse(yield* inbox.isDone("orders", entry.eventId))
        assert.isTrue(yield* inbox.once(entry, Effect.void))
      }))

    it.effect("counts failures, and returns a kept message when it is due or makes it a dead letter", () =>
      Effect.gen(function*() {
        const inbox = yield* MessageInbox
        const [soon, late, gone, broker] = yield* Effect.all([fresh, fresh, fresh, fresh])
        const mine = (all: ReadonlyArray<{ readonly eventId: EventId }>) =>
          all.map(({ eventId }) => eventId).filter((id) =>
            [soon, late, gone, broker].some((entry) => entry.eventId === id)
          )
        yield* inbox.fail(soon, { message: "one", keep: true, decide: again })
        const second = yield* inbox.fail(soon, { message: "t\0wo", keep: true, decide: again })
        assert.strictEqual(second.attempts, 2)
        yield* inbox.fail(late, { message: "late", keep: true, decide: later })
        yield* inbox.fail(gone, { message: "gone", keep: true, decide: dead })
        yield* inbox.fail(broker, { message: "broker", keep: false, decide: dead })
        assert.deepStrictEqual(mine(yield* inbox.due(100)), [soon.eventId])
        assert.deepStrictEqual(mine((yield* inbox.dead(100)).items), [gone.eventId])
        const failures = yield* inbox.failures([soon.eventId, broker.eventId])
        assert.sameMembers(failures.map(({ message }) => message.replace("\0", "")), ["two", "broker"])
        // Handled at last: it is no longer a failure.
        yield* inbox.once(soon, Effect.void)
        assert.deepStrictEqual(mine(yield* inbox.due(100)), [])
        assert.deepStrictEqual(yield* inbox.failures([soon.eventId]), [])
        yield* inbox.forgetFailures([broker.eventId])
        assert.strictEqual((yield* inbox.fail(broker, { message: "x", keep: false, decide: dead })).attempts, 1)
      }))

    it.effect("retries a dead letter with its attempts reset, or removes it for good", () =>
      Effect.gen(function*() {
        const inbox = yield* MessageInbox
        const [one, two] = yield* Effect.all([fresh, fresh])
        for (const entry of [one, two]) yield* inbox.fail(entry, { message: "no", keep: true, decide: dead })
        assert.deepStrictEqual(yield* inbox.revive([one.eventId]), [one.eventId])
        assert.deepStrictEqual(yield* inbox.revive([one.eventId]), [])
        assert.include((yield* inbox.due(100)).map(({ eventId }) => eventId), one.eventId)
        assert.strictEqual((yield* inbox.fail(one, { message: "no", keep: true, decide: dead })).attempts, 1)
        assert.deepStrictEqual(yield* inbox.drop([two.eventId]), [two.eventId])
        assert.isFalse(yield* inbox.once(two, Effect.die("it was dropped")))
        assert.include(yield* inbox.revive(null), one.eventId)
        yield* inbox.once(one, Effect.void)
      }))

    it.effect("deletes old notes, and no message that still waits", () =>
      Effect.gen(function*() {
        const inbox = yield* MessageInbox
        const [handled, waits, gone] = yield* Effect.all([fresh, fresh, fresh])
        yield* inbox.once(handled, Effect.void)
        yield* inbox.fail(waits, { message: "no", keep: true, decide: later })
        yield* inbox.fail(gone, { message: "no", keep: true, decide: dead })
        assert.strictEqual(yield* inbox.deleteOlderThan(Duration.days(1)), 0)
        let deleted = 0
        yield* until(
          "the note of what was handled is deleted, a moment later",
          Effect.gen(function*() {
            deleted += yield* inbox.deleteOlderThan(Duration.zero)
            return !(yield* inbox.isDone("orders", handled.eventId))
          })
        )
        assert.isAbove(deleted, 0)
        assert.strictEqual((yield* inbox.failures([waits.eventId, gone.eventId])).length, 2)
        yield* inbox.drop([gone.eventId])
        yield* inbox.once(waits, Effect.void)
      }))
  })
}

/** Only for stores with real transactions. */
export const messageInboxTransactions = (name: string, storage: Layer.Layer<MessageInbox>): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`inbox transactions ${name}`, (it) => {
    it.effect("makes the second of two concurrent deliveries wait for the first, and then runs nothing", () =>
      Effect.gen(function*() {
        const inbox = yield* MessageInbox
        const entry = freshEntry()
        const begun = yield* Deferred.make<void>()
        const release = yield* Deferred.make<void>()
        const first = yield* Effect.forkChild(
          inbox.once(entry, Effect.andThen(Deferred.succeed(begun, undefined), Deferred.await(release)))
        )
        yield* Deferred.await(begun)
        const second = yield* Effect.forkChild(inbox.once(entry, Effect.die("twice")))
        yield* Deferred.succeed(release, undefined)
        assert.deepStrictEqual([yield* Fiber.join(first), yield* Fiber.join(second)], [true, false])
      }))
  })
}
