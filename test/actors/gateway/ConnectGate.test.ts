import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as ConnectGate from "../../../src/actors/gateway/ConnectGate.ts"

/** Handshakes that the test ends, and the order in which they began. */
const makeHandshakes = () => {
  const begun: Array<number> = []
  const ends: Array<Deferred.Deferred<void>> = []
  const handshake = (n: number) =>
    Effect.suspend(() => {
      begun.push(n)
      ends[n] = Deferred.makeUnsafe<void>()
      return Deferred.await(ends[n])
    })
  const end = (n: number) => Deferred.succeed(ends[n]!, undefined).pipe(Effect.andThen(settle))
  return { begun, handshake, end }
}

const settle = Effect.forEach(Array.from({ length: 10 }), () => Effect.yieldNow, { discard: true })

/** Devices that enter the gate in this order, all at once as far as the rate matters. */
const arrive = Effect.fnUntraced(function*(count: number, places: number) {
  const gate = ConnectGate.make({ handshakesInFlight: places, connectsPerSecond: 1_000_000 })
  const handshakes = makeHandshakes()
  const fibers = yield* Effect.forEach(
    Array.from({ length: count }, (_, n) => n),
    (n) => Effect.forkChild(gate.enter(handshakes.handshake(n)))
  )
  yield* settle
  yield* TestClock.adjust("1 second")
  yield* settle
  return { ...handshakes, fibers, gate }
})

describe("the gate to a gateway", () => {
  it.effect("lets no more in than there are places, and the rest in the order they came", () =>
    Effect.gen(function*() {
      const { begun, end } = yield* arrive(5, 2)
      assert.deepStrictEqual(begun, [0, 1])
      yield* end(1)
      assert.deepStrictEqual(begun, [0, 1, 2])
      yield* end(0)
      yield* end(2)
      assert.deepStrictEqual(begun, [0, 1, 2, 3, 4])
    }))

  it.effect("releases the place of a handshake that is interrupted", () =>
    Effect.gen(function*() {
      const { begun, fibers } = yield* arrive(2, 1)
      yield* Fiber.interrupt(fibers[0]!)
      yield* settle
      assert.deepStrictEqual(begun, [0, 1])
    }))

  it.effect("forgets a device that is stopped while it waits", () =>
    Effect.gen(function*() {
      const { begun, end, fibers } = yield* arrive(3, 1)
      yield* Fiber.interrupt(fibers[1]!)
      yield* end(0)
      assert.deepStrictEqual(begun, [0, 2])
    }))

  it.effect("passes on a place that was given to a device stopped in the same moment", () =>
    Effect.gen(function*() {
      const gate = ConnectGate.make({ handshakesInFlight: 1, connectsPerSecond: 1_000_000 })
      const first = yield* Deferred.make<void>()
      const begun: Array<string> = []
      yield* Effect.forkChild(gate.enter(Deferred.await(first)))
      yield* settle
      const stopped = yield* Effect.forkChild(gate.enter(Effect.sync(() => begun.push("stopped"))))
      yield* settle
      yield* Effect.forkChild(gate.enter(Effect.sync(() => begun.push("last"))))
      yield* settle
      Deferred.doneUnsafe(first, Effect.void)
      yield* Fiber.interrupt(stopped)
      yield* settle
      assert.include(begun, "last")
    }))

  it.effect("opens no more connections per second than configured", () =>
    Effect.gen(function*() {
      const gate = ConnectGate.make({ handshakesInFlight: 100, connectsPerSecond: 10 })
      let begun = 0
      yield* Effect.forEach(
        Array.from({ length: 25 }),
        () => Effect.forkChild(gate.enter(Effect.sync(() => begun++))),
        { discard: true }
      )
      yield* settle
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(begun, 10)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(begun, 20)
    }))

  it.effect("opens waiting connections in groups, ten per second", () =>
    Effect.gen(function*() {
      const gate = ConnectGate.make({ handshakesInFlight: 1_000, connectsPerSecond: 500 })
      let begun = 0
      yield* Effect.forEach(
        Array.from({ length: 500 }),
        () => Effect.forkChild(gate.enter(Effect.sync(() => begun++))),
        { discard: true }
      )
      yield* settle
      const groups: Array<number> = []
      for (let tenth = 0; tenth < 9; tenth++) {
        yield* TestClock.adjust("99 millis")
        const before = begun
        yield* TestClock.adjust("1 milli")
        groups.push(begun - before)
      }
      assert.deepStrictEqual(groups, Array.from({ length: 9 }, () => 50))
    }))

  it.effect("lets requests with low priority continue once a place is free", () =>
    Effect.gen(function*() {
      const { end, gate } = yield* arrive(3, 2)
      const waiting = yield* Effect.forkChild(gate.yieldToHandshakes)
      yield* end(0)
      assert.isUndefined(waiting.pollUnsafe(), "the last handshake has taken the place")
      yield* end(1)
      yield* Fiber.join(waiting)
      yield* gate.yieldToHandshakes
    }))

  it.effect("delays such requests for three seconds at most", () =>
    Effect.gen(function*() {
      const { gate } = yield* arrive(2, 1)
      const waiting = yield* Effect.forkChild(gate.yieldToHandshakes)
      yield* settle
      yield* TestClock.adjust("2999 millis")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 milli")
      yield* Fiber.join(waiting)
    }))
})
