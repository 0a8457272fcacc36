/** One timer for the due times of many devices, and the workers that process them. */
import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import * as DueSet from "../../../src/actors/gateway/DueSet.ts"
import * as Workers from "../../../src/actors/gateway/workers.ts"
import { GatewayName } from "../../../src/domain/Ids.ts"

/** A set that records what was due and when, and how often it woke up. */
const observed = Effect.gen(function*() {
  const clock = yield* Clock.Clock
  const due: Array<readonly [string, number]> = []
  const seen = { due, rounds: 0 }
  const set = yield* DueSet.make<string>({
    grain: Duration.seconds(1),
    onDue: (key) => due.push([key, clock.currentTimeMillisUnsafe()]),
    afterRound: Effect.sync(() => {
      seen.rounds++
    })
  })
  yield* Effect.yieldNow
  return { set, seen }
})

describe("the due times of many devices", () => {
  it.effect("wake nothing while nothing is planned, and once for all that is due in one grain", () =>
    Effect.gen(function*() {
      const { seen, set } = yield* observed
      yield* TestClock.adjust("1 day")
      assert.strictEqual(seen.rounds, 0)
      for (let n = 0; n < 1000; n++) set.planIn(`${n}`, 3_000_100 + (n % 800))
      yield* TestClock.adjust("3000 seconds")
      assert.strictEqual(seen.rounds, 0)
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual([seen.rounds, seen.due.length], [1, 1000])
      yield* TestClock.adjust("1 day")
      assert.strictEqual(seen.rounds, 1)
    }))

  it.effect("are never early, at most one grain late, and noticed if planned before all others", () =>
    Effect.gen(function*() {
      const { seen, set } = yield* observed
      set.planIn("late", 100_000)
      yield* TestClock.adjust("10500 millis")
      set.planIn("soon", 700)
      yield* TestClock.adjust("600 millis")
      assert.deepStrictEqual(seen.due, [])
      yield* TestClock.adjust("100 seconds")
      assert.deepStrictEqual(seen.due, [["soon", 12_000], ["late", 100_000]])
    }))

  it.effect("fire at the last time that was planned, and not at all once they were cancelled", () =>
    Effect.gen(function*() {
      const { seen, set } = yield* observed
      set.planIn("moved", 5000)
      set.planIn("moved", 9000)
      set.planIn("cancelled", 4000)
      assert.strictEqual(set.dueAt("moved"), 9000)
      set.cancel("cancelled")
      assert.isFalse(set.has("cancelled"))
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(seen.due, [["moved", 9000]])
      assert.isFalse(set.has("moved"))
    }))

  it.effect("do not spin if something is due again at once", () =>
    Effect.gen(function*() {
      let rounds = 0
      const set: DueSet.DueSet<string> = yield* DueSet.make<string>({
        grain: Duration.seconds(1),
        onDue: (key) => {
          rounds++
          set.planIn(key, -1000)
        }
      })
      set.planIn("again", 0)
      yield* TestClock.adjust("10 seconds")
      assert.isAtMost(rounds, 11)
      assert.isAtLeast(rounds, 10)
    }))

  it.effect("end with their scope", () =>
    Effect.gen(function*() {
      const { seen } = yield* Effect.scoped(
        Effect.tap(observed, ({ set }) => Effect.sync(() => set.planIn("gone", 1000)))
      )
      yield* TestClock.adjust("1 minute")
      assert.deepStrictEqual(seen.due, [])
    }))
})

describe("workers", () => {
  it.effect("process as many items at once as there are workers, and the rest afterwards; a defect ends none of them", () =>
    Effect.gen(function*() {
      const open = yield* Deferred.make<void>()
      const waiting = Array.from({ length: 7 }, (_, n) => n)
      let underWay = 0
      let most = 0
      const done: Array<number> = []
      const wake = yield* Workers.make({
        gateway: GatewayName.make("default"),
        concurrency: 3,
        work: "a planted piece",
        next: () => {
          const n = waiting.shift()
          if (n === undefined) return null
          return Effect.gen(function*() {
            most = Math.max(most, ++underWay)
            yield* Deferred.await(open)
            underWay--
            if (n === 1) return yield* Effect.die(new Error("planted"))
            done.push(n)
          })
        }
      })
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual([underWay, most], [3, 3])
      yield* Deferred.succeed(open, undefined)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(done.toSorted(), [0, 2, 3, 4, 5, 6])
      waiting.push(8)
      wake()
      yield* TestClock.adjust("1 second")
      assert.include(done, 8)
    }).pipe(Effect.provide(Logger.layer([]))))
})
