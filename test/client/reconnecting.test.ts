/** What ends a call, one connection of a stream, and the stream itself, on virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { makeCalls } from "../../src/client/calls.ts"
import type { Rpcs } from "../../src/client/calls.ts"
import { endSilence, resuming, silenceMax } from "../../src/client/reconnecting.ts"
import { answerTimeout } from "../../src/http/Edge.ts"
import { heartbeat } from "../../src/log/LogReader.ts"

const never = (): boolean => false

const connection = { isClosed: never, onReconnect: undefined }

describe("a stream that reconnects", () => {
  it.effect("takes a connection on which nothing comes, not even a heartbeat, for lost", () =>
    Effect.gen(function*() {
      const opened = yield* Deferred.make<void>()
      let connections = 0
      const open = () => {
        connections++
        if (connections > 1) Deferred.doneUnsafe(opened, Effect.void)
        return endSilence(Stream.concat(Stream.make(connections), Stream.never))
      }
      const reasons: Array<string> = []
      const told = { ...connection, onReconnect: ({ message }: Error) => void reasons.push(message) }
      const reading = yield* resuming(open, never, told).pipe(
        Stream.take(2),
        Stream.runCollect,
        Effect.forkChild({ startImmediately: true })
      )
      yield* TestClock.adjust("44 seconds")
      assert.strictEqual(connections, 1)
      yield* TestClock.adjust("10 seconds")
      yield* Deferred.await(opened)
      assert.deepStrictEqual(yield* Fiber.join(reading), [1, 2])
      assert.deepStrictEqual(reasons, ["RpcClientDefect: Nothing came, not even a heartbeat"])
    }))

  it.effect("does not count the time in which its reader is busy", () =>
    Effect.gen(function*() {
      let connections = 0
      const open = () => {
        connections++
        return endSilence(Stream.fromArrays([1], [2], [3]))
      }
      const seen = yield* resuming(open, never, connection).pipe(
        Stream.take(3),
        Stream.tap(() => TestClock.adjust("5 minutes")),
        Stream.runCollect
      )
      assert.deepStrictEqual([seen, connections], [[1, 2, 3], 1])
    }))

  it.effect("is interrupted once its client is closed, instead of trying for ever", () =>
    Effect.gen(function*() {
      let closed = false
      const open = () =>
        Stream.unwrap(Effect.sync(() => {
          closed = true
          return Stream.fromEffect(Effect.interrupt)
        }))
      const exit = yield* Effect.exit(Stream.runDrain(resuming(open, never, { ...connection, isClosed: () => closed })))
      assert.isTrue(Exit.hasInterrupts(exit))
    }))
})

describe("a call", () => {
  it.effect("fails when its answer does not come, after the server has had its time", () =>
    Effect.gen(function*() {
      assert.isTrue(Duration.isGreaterThan(silenceMax, answerTimeout))
      assert.isTrue(Duration.isGreaterThanOrEqualTo(silenceMax, Duration.times(heartbeat, 3)))
      let asked = 0
      const rpc = { "Server.Ping": () => Effect.suspend(() => (asked++, Effect.never)) } as unknown as Rpcs
      const { server } = makeCalls(rpc, Duration.seconds(15), never)
      const waiting = yield* Effect.forkChild(Effect.flip(server.ping()), { startImmediately: true })
      yield* TestClock.adjust("44 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.include(yield* Fiber.join(waiting), { _tag: "RpcClientError" })
      assert.strictEqual(asked, 1, "the time for repeats is over")
    }))

  it.effect("that is safe to repeat is repeated for its time, and then fails", () =>
    Effect.gen(function*() {
      let asked = 0
      const fail = Effect.suspend(() => (asked++, Effect.fail({ _tag: "RpcClientError" })))
      const rpc = { "Server.Ping": () => fail, "Devices.Create": () => fail } as unknown as Rpcs
      const { devices, server } = makeCalls(rpc, Duration.seconds(15), never)
      yield* Effect.flip(devices.create({ name: "not repeated" }))
      assert.strictEqual(asked, 1)
      const waiting = yield* Effect.forkChild(Effect.flip(server.ping()), { startImmediately: true })
      yield* TestClock.adjust("14 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      // The last wait begins before the time is over, and is two seconds at most.
      yield* TestClock.adjust("4 seconds")
      assert.include(yield* Fiber.join(waiting), { _tag: "RpcClientError" })
      assert.isBelow(asked, 20)
    }))
})
