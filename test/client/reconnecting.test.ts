/** The end of a call, of one connection of a stream, and of the stream itself, on virtual time. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Option, Queue, Random, Schedule, Stream } from "effect"
import type { RpcClientError } from "effect/rpc"
import { TestClock } from "effect/testing"
import { makeCalls } from "../../src/client/calls.ts"
import type { Rpcs } from "../../src/client/calls.ts"
import { endSilence, reconnectPolicy, resuming, silenceMax } from "../../src/client/reconnecting.ts"
import { answerTimeout } from "../../src/http/Edge.ts"
import { heartbeat } from "../../src/log/LogReader.ts"

const never = (): boolean => false

const connection = { isClosed: never, onReconnect: undefined, connected: Effect.never }

const lost = { _tag: "RpcClientError" } as RpcClientError.RpcClientError

describe("a stream that reconnects", () => {
  it.effect("treats a connection on which nothing arrives, not even a heartbeat, as lost", () =>
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

  it.effect("is interrupted once its client is closed, instead of retrying forever", () =>
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

  it.effect("is opened again as soon as there is a new connection, whatever remains of its delay", () =>
    Effect.gen(function*() {
      const asked = yield* Queue.unbounded<number>()
      const connections = yield* Queue.unbounded<void>()
      let attempts = 0
      const open = () =>
        Stream.unwrap(Effect.gen(function*() {
          yield* Queue.offer(asked, ++attempts)
          return attempts < 20 ? Stream.fail(lost) : Stream.make("open")
        }))
      const told = { ...connection, connected: Queue.take(connections) }
      const reading = yield* resuming(open, never, told).pipe(
        Stream.runHead,
        Effect.forkChild({ startImmediately: true })
      )
      // No time passes.
      for (let attempt = 1; attempt < 20; attempt++) {
        assert.strictEqual(yield* Queue.take(asked), attempt)
        yield* Queue.offer(connections, undefined)
      }
      assert.deepStrictEqual(yield* Fiber.join(reading), Option.some("open"))
    }))

  it.effect("ends at once with a permanent failure", () =>
    Effect.gen(function*() {
      const refused = { _tag: "Forbidden" } as const
      const ended = yield* Effect.flip(Stream.runDrain(resuming(() => Stream.fail(refused), never, connection)))
      assert.strictEqual(ended, refused)
    }))
})

/** When a client tries to connect to a server that is down from 0 to `outage`, in milliseconds; the last attempt succeeds. */
const attemptsOver = Effect.fnUntraced(function*(outage: number, input: unknown = lost) {
  const step = yield* Schedule.toStep(reconnectPolicy)
  const attempts: Array<number> = []
  let now = 0
  do {
    const [, wait] = yield* Effect.orDie(step(now, input))
    now += Duration.toMillis(wait)
    attempts.push(now)
  } while (now < outage)
  return attempts
})

describe("a client whose server was down", () => {
  const seeds = Array.from({ length: 1000 }, (_, index) => index)
  const clients = (outage: number) => Effect.forEach(seeds, (seed) => Random.withSeed(attemptsOver(outage), seed))

  it.effect("retries at once, and reconnects soon after the server is up", () =>
    Effect.gen(function*() {
      for (const attempts of yield* clients(0)) assert.isAtMost(attempts[0]!, 250)
      for (const outage of [250, 1_000, 3_000, 8_000, 20_000]) {
        const late = (yield* clients(outage)).map((attempts) => attempts.at(-1)! - outage)
        assert.isAtMost(Math.max(...late), 500 + outage * 0.75, `away for ${outage} ms`)
        assert.isAtMost(
          late.reduce((sum, one) => sum + one, 0) / late.length,
          250 + outage * 0.3,
          `away for ${outage} ms`
        )
      }
    }))

  it.effect("does not reconnect at the same moment as all others, nor ask a dead server often", () =>
    Effect.gen(function*() {
      for (const outage of [0, 1_000, 3_000, 8_000, 20_000, 60_000]) {
        const all = yield* clients(outage)
        const window = Math.max(50, outage / 50)
        const back = all.map((attempts) => Math.floor(attempts.at(-1)! / window))
        const most = Math.max(...back.map((place) => back.filter((other) => other === place).length))
        // At most a fifth of all clients reconnect within a fiftieth of the outage.
        assert.isAtMost(most, outage === 0 ? 300 : 200, `away for ${outage} ms`)
        assert.isAtMost(Math.max(...all.map(({ length }) => length)), 8 + outage / 4_000, `away for ${outage} ms`)
      }
    }))

  it.effect("resets its delays after a connection that lasted, and not after one that was closed at once", () =>
    Effect.gen(function*() {
      const restarts = Effect.fnUntraced(function*(lasted: number) {
        const step = yield* Schedule.toStep(reconnectPolicy)
        const waits: Array<number> = []
        let now = 0
        for (let round = 0; round < 20; round++) {
          const [, wait] = yield* Effect.orDie(step(now, lost))
          waits.push(Duration.toMillis(wait))
          now += Duration.toMillis(wait) + lasted
        }
        return waits
      })
      assert.isAtMost(Math.max(...(yield* restarts(1_500))), 250)
      assert.isAtLeast((yield* restarts(100)).at(-1)!, 5_000)
    }))

  it.effect("is not repeated at once if the client itself refused it", () =>
    Effect.gen(function*() {
      const [first] = yield* attemptsOver(0, { _tag: "TooManyStreams" })
      assert.isAtLeast(first!, 250)
    }))
})

describe("a call", () => {
  it.effect("fails after the server's time limit if no answer comes", () =>
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

  it.effect("that is safe to repeat is repeated within its time limit, and then fails", () =>
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
      // The last delay starts before the limit, and is two seconds at most.
      yield* TestClock.adjust("4 seconds")
      assert.include(yield* Fiber.join(waiting), { _tag: "RpcClientError" })
      assert.isBelow(asked, 20)
    }))
})
