/** What the open streams of a process may hold in memory, and how a stream ends whose client takes nothing. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Queue, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { connect } from "node:net"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { WebSocket } from "ws"
import { CurrentCaller } from "../../src/contracts/Authorization.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import {
  OpenStreams,
  openStreamsMax,
  pageBytesReserved,
  pageBytesWanted,
  poolBytes
} from "../../src/http/OpenStreams.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { openSse } from "../support/sse.ts"
import { messageDraft, startServer } from "../support/surface.ts"

const anonymous = CurrentCaller.of({
  id: null,
  name: "anonymous",
  scopes: new Set(),
  devices: undefined,
  ended: Effect.never
})

const admitAll = (count: number, caller = anonymous) =>
  Effect.flatMap(
    OpenStreams,
    ({ admit }) =>
      Effect.forEach(Array.from({ length: count }), () => Effect.provideService(admit, CurrentCaller, caller))
  )

describe("the budget of all open streams", () => {
  it.effect("never grants more than the reserved pages and the pool, and each stream its reserved page", () =>
    Effect.gen(function*() {
      const streams = yield* admitAll(openStreamsMax)
      const granted = streams.map(({ budget }) => budget.take())
      assert.isAtMost(granted.reduce((sum, bytes) => sum + bytes, 0), openStreamsMax * pageBytesReserved + poolBytes)
      assert.strictEqual(granted[0], pageBytesWanted)
      assert.strictEqual(granted.at(-1), pageBytesReserved)
      streams[0]!.budget.settle(100)
      assert.strictEqual(streams.at(-1)!.budget.take(), pageBytesWanted)
    }).pipe(Effect.provide(OpenStreams.layer)))

  it.effect("lets an event larger than a page wait for room in the pool, and releases the room at the end", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const others = yield* Scope.provide(admitAll(poolBytes / pageBytesWanted + 20), scope)
      for (const { budget } of others) budget.take()
      const [large] = yield* admitAll(1)
      const waiting = yield* Effect.forkChild(large!.budget.require(8 * 1024 * 1024), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Scope.close(scope, Exit.void)
      yield* Fiber.join(waiting)
      assert.isAtLeast(large!.budget.take(), 8 * 1024 * 1024)
    }).pipe(Effect.provide(OpenStreams.layer)))

  it.effect("gives room in the order of requests, wakes no others, and skips a stream that is gone", () =>
    Effect.gen(function*() {
      const mega = 1024 * 1024
      const others = yield* admitAll(poolBytes / pageBytesWanted + 20)
      for (const { budget } of others) budget.take()
      const waiters = yield* admitAll(4)
      const order: Array<number> = []
      const [first, second] = yield* Effect.forEach([8, 2, 1, 1], (megas, index) =>
        Effect.forkChild(
          Effect.andThen(waiters[index]!.budget.require(megas * mega), Effect.sync(() => order.push(index))),
          { startImmediately: true }
        ))
      const free = (megas: number) =>
        Effect.andThen(
          Effect.sync(() => others.splice(0, megas * mega / (pageBytesWanted - pageBytesReserved) + 1)),
          (some) => Effect.andThen(Effect.sync(() => some.forEach(({ budget }) => budget.settle(0))), Effect.yieldNow)
        )
      yield* free(4)
      assert.deepStrictEqual(order, [])
      // There was room for all of the others, but not before the first one.
      yield* Fiber.interrupt(first!)
      yield* Effect.yieldNow
      assert.deepStrictEqual(order, [1, 2, 3])
      yield* Fiber.join(second!)
      const last = yield* Effect.forkChild(waiters[0]!.budget.require(8 * mega), { startImmediately: true })
      yield* free(8)
      yield* Fiber.join(last)
    }).pipe(Effect.provide(OpenStreams.layer)))

  it.effect("ends few streams at a time, so that clients that do not read do not delay those that do", () =>
    Effect.gen(function*() {
      const streams = yield* admitAll(100)
      const fibers = yield* Effect.forEach(
        streams,
        ({ guard }) =>
          Effect.forkChild(Stream.runForEach(guard(Stream.make(1, 2)), () => Effect.never), { startImmediately: true })
      )
      const countEnded = () => fibers.filter((fiber) => fiber.pollUnsafe() !== undefined).length
      yield* TestClock.adjust("30 seconds")
      assert.isAtMost(countEnded(), 10)
      yield* TestClock.adjust("20 millis")
      assert.isAtMost(countEnded(), 20)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(countEnded(), 100)
    }).pipe(Effect.provide(OpenStreams.layer)))

  it.effect("ends a stream whose client takes nothing, and no stream that has nothing for its client", () =>
    Effect.gen(function*() {
      const [stuck, idle] = yield* admitAll(2)
      const dropped: Array<string> = []
      const drop = (name: string) => () => {
        dropped.push(name)
      }
      const never = yield* Deferred.make<never>()
      const stalled = yield* Effect.forkChild(
        Stream.runForEach(stuck!.guard(Stream.make(1, 2), drop("stuck")), () => Deferred.await(never)),
        { startImmediately: true }
      )
      const queue = yield* Queue.unbounded<number>()
      const waiting = yield* Effect.forkChild(
        Stream.runForEach(idle!.guard(Stream.fromQueue(queue), drop("idle")), () => Effect.void),
        { startImmediately: true }
      )
      yield* Queue.offer(queue, 1)
      yield* TestClock.adjust("29 seconds")
      assert.isUndefined(stalled.pollUnsafe())
      yield* TestClock.adjust("10 seconds")
      assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(stalled)))
      assert.isUndefined(waiting.pollUnsafe())
      assert.deepStrictEqual(dropped, ["stuck"])
    }).pipe(Effect.provide(OpenStreams.layer)))
})

/** 36 MB in events of usual and of large size. */
const fill = Effect.fnUntraced(function*(log: EventLog["Service"]) {
  const device = "dev_01K0000000000000000000000A" as DeviceId
  for (let batch = 0; batch < 72; batch++) {
    const size = batch % 8 === 0 ? 250_000 : 5_000
    yield* log.append(
      Array.from({ length: 500_000 / size }, (_, index) => messageDraft(device, batch * 1000 + index, "x".repeat(size)))
    )
  }
  return (yield* log.bounds).head
})

/** Sends a raw request, and reads nothing once the first bytes of the answer have come. */
const openStuckRequest = (port: number, request: string) =>
  Effect.acquireRelease(
    Effect.callback<ReturnType<typeof connect>>((resume) => {
      const socket = connect(port, "127.0.0.1", () => {
        socket.write(request)
        // Its first bytes have come: from here on nothing is read.
        socket.once("readable", () => resume(Effect.succeed(socket)))
      })
    }),
    (socket) => Effect.sync(() => socket.destroy())
  )

const eventsRequest = `${
  JSON.stringify({ _tag: "Request", id: "1", tag: "Events", payload: { after: "0" }, headers: [] })
}\n`

const openStuck: Readonly<Record<string, (port: number) => Effect.Effect<unknown, never, Scope.Scope>>> = {
  "server-sent events": (port) =>
    openStuckRequest(
      port,
      `GET /api/v1/events?after=0 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`
    ),
  "RPC over HTTP": (port) =>
    openStuckRequest(
      port,
      `POST /rpc/ HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nContent-Type: application/ndjson\r\n` +
        `Content-Length: ${eventsRequest.length}\r\n\r\n${eventsRequest}`
    ),
  "RPC over a WebSocket": (port) =>
    Effect.acquireRelease(
      Effect.callback<WebSocket>((resume) => {
        const socket = new WebSocket(`ws://127.0.0.1:${port}/rpc/ws`)
        socket.on("open", () => socket.send(eventsRequest))
        // It acknowledges nothing, and reads nothing more.
        socket.once("message", () => {
          socket.pause()
          resume(Effect.succeed(socket))
        })
      }),
      (socket) => Effect.sync(() => socket.terminate())
    )
}

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

/** Bytes that the process holds, on the heap and outside of it. */
const measureHeld = (): number => {
  collectGarbage()
  const { arrayBuffers, external, heapUsed } = process.memoryUsage()
  return heapUsed + external + arrayBuffers
}

/** The maximum for a hundred: their pages as events, and the cost of a socket at both of its ends. */
const heldMax: Readonly<Record<string, number>> = {
  // One chunk of each page as text.
  "server-sent events": poolBytes + 100 * 100_000,
  // Data on its way to a client, as text and as bytes.
  "RPC over HTTP": 2 * poolBytes + 100 * 300_000,
  "RPC over a WebSocket": poolBytes + 100 * 100_000
}

describe.for(Object.keys(openStuck))("clients that do not read %s", (kind) => {
  it.live("cost little memory, and delay no client that reads", () =>
    Effect.gen(function*() {
      const { port, services, url } = yield* startServer()
      const log = Context.get(services, EventLog)
      const head = yield* fill(log)
      const before = measureHeld()
      yield* Effect.forEach(Array.from({ length: 100 }), () => openStuck[kind]!(port), { concurrency: 20 })
      const healthy = yield* openSse(`${url}/api/v1/events?after=${head}`)
      const next = yield* Effect.forkChild(healthy.next)
      yield* log.append([messageDraft("dev_01K0000000000000000000000B" as DeviceId, 1)])
      assert.strictEqual((yield* Fiber.join(next)).seq, String(head + 1))
      const held = measureHeld() - before
      console.log(`${kind}: 100 clients that do not read hold ${(held / 1e6).toFixed(0)} MB`)
      assert.isBelow(held, heldMax[kind]!)
    }))
})
