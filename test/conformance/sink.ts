/**
 * The contract of every sink with the relay (see `EventSink`), whatever is on its other side. A harness provides the sink,
 * the events that the other side has received, and two faults.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import type { Scope } from "effect"
import type { EventKind, LoggedEvent } from "../../src/domain/Event.ts"
import { toWire } from "../../src/domain/Event.ts"
import { DeviceId, EventId } from "../../src/domain/Ids.ts"
import type { EventSink } from "../../src/services/EventSink.ts"

export interface Received {
  readonly id: string
  readonly seq: number
  readonly deviceId: string
  readonly wire: string
}

export interface SinkHarness {
  readonly sink: EventSink
  /** All events that the other side has received, in its order, repeats included. */
  readonly received: () => ReadonlyArray<Received>
  readonly waitUntil: (ready: () => boolean) => Effect.Effect<void>
  /** From now on events still arrive at the other side, but its confirms are lost. */
  readonly hold: Effect.Effect<void>
  /** Ends `hold` by losing the connection. New connections work again, unless the other side is to stay away. */
  readonly cut: (after: "back" | "away") => Effect.Effect<void>
}

const secret = "6281234567890"

/** Events of three devices in turn, with numbers from `first` on. */
const makeEvents = (first: number, count: number, kind: EventKind = "message.received"): ReadonlyArray<LoggedEvent> =>
  Array.from({ length: count }, (_, index) => {
    const seq = first + index
    const data = JSON.stringify({ waId: `WA${seq}`, chat: `${secret}@s.whatsapp.net`, body: `hello ${seq} 👋` })
    return {
      seq,
      id: EventId.make(`0199b2c4-0000-7000-8000-${String(seq).padStart(12, "0")}`),
      kind,
      deviceId: DeviceId.make(`dev_01K0000000000000000000000${seq % 3}`),
      occurredAt: "2026-01-01T00:00:00.000Z",
      recordedAt: "2026-01-01T00:00:01.500Z",
      via: "live",
      data,
      bytes: Buffer.byteLength(data)
    }
  })

const readSeqs = (events: ReadonlyArray<{ readonly seq: number }>) => events.map(({ seq }) => seq)

/** The order in which a reader that drops repeated ids sees the events. */
const withoutRepeats = (received: ReadonlyArray<Received>) => [...new Set(readSeqs(received))]

const range = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)

export const sinkConformance = (name: string, make: Effect.Effect<SinkHarness, never, Scope.Scope>): void => {
  describe(`a sink ${name}`, () => {
    it.live("succeeds when the other side has every event, in order and as it is in the log", () =>
      Effect.gen(function*() {
        const { received, sink, waitUntil } = yield* make
        const events = makeEvents(1, 300)
        yield* sink.publish(events, 1)
        yield* waitUntil(() => received().length >= 300)
        assert.deepStrictEqual(readSeqs(received()), range(1, 300))
        assert.deepStrictEqual(received().map(({ wire }) => wire), events.map(toWire))
        assert.deepStrictEqual(received().map(({ id }) => id), events.map(({ id }) => id))
      }))

    it.live("accepts a batch without events", () =>
      Effect.gen(function*() {
        const { received, sink } = yield* make
        yield* sink.publish([], 1)
        yield* sink.publish([], 1)
        assert.strictEqual(received().length, 0)
      }))

    it.live("does not succeed before the confirm, and fails when the confirm can no longer come", () =>
      Effect.gen(function*() {
        const { cut, hold, received, sink, waitUntil } = yield* make
        yield* sink.publish(makeEvents(1, 1), 1)
        yield* hold
        const publishing = yield* Effect.forkChild(sink.publish(makeEvents(2, 10), 1))
        yield* waitUntil(() => received().some(({ seq }) => seq === 11))
        assert.isUndefined(publishing.pollUnsafe())
        yield* cut("back")
        const { reason } = yield* Effect.flip(Fiber.join(publishing))
        assert.strictEqual(reason, "disconnected")
      }))

    it.live("keeps the order of batches that are in flight at the same time", () =>
      Effect.gen(function*() {
        const { received, sink, waitUntil } = yield* make
        yield* sink.publish(makeEvents(1, 10), 1)
        const batches: Array<Fiber.Fiber<void, unknown>> = []
        for (let batch = 1; batch <= (sink.overlap ?? 1); batch++) {
          const events = makeEvents(batch * 10 + 1, 10)
          batches.push(yield* Effect.forkChild(sink.publish(events, 1), { startImmediately: true }))
        }
        yield* Fiber.joinAll(batches)
        const last = (batches.length + 1) * 10
        yield* waitUntil(() => received().length >= last)
        assert.deepStrictEqual(readSeqs(received()), range(1, last))
      }))

    it.live("ends the whole attempt on one failure: batches in flight fail, and nothing more is sent", () =>
      Effect.gen(function*() {
        const { cut, hold, received, sink, waitUntil } = yield* make
        yield* sink.publish(makeEvents(1, 5), 1)
        yield* hold
        const second = yield* Effect.forkChild(sink.publish(makeEvents(6, 5), 1), { startImmediately: true })
        const third = yield* Effect.forkChild(sink.publish(makeEvents(11, 5), 1), { startImmediately: true })
        yield* waitUntil(() => received().length >= 15)
        yield* cut("back")
        assert.isTrue(Exit.isFailure(yield* Fiber.await(second)))
        assert.isTrue(Exit.isFailure(yield* Fiber.await(third)))
        yield* Effect.flip(sink.publish(makeEvents(16, 5), 1))
        assert.notInclude(readSeqs(received()), 16)
      }))

    it.live("sends everything again in a later attempt, under the same ids, and a reader sees it in order", () =>
      Effect.gen(function*() {
        const { cut, hold, received, sink, waitUntil } = yield* make
        yield* sink.publish(makeEvents(1, 5), 1)
        yield* hold
        const lost = yield* Effect.forkChild(sink.publish(makeEvents(6, 5), 1))
        yield* waitUntil(() => received().length >= 10)
        yield* cut("back")
        yield* Effect.flip(Fiber.join(lost))
        yield* Effect.retry(sink.publish(makeEvents(6, 5), 2), { times: 5 })
        yield* sink.publish(makeEvents(11, 5), 2)
        yield* waitUntil(() => received().some(({ seq }) => seq === 15))
        assert.deepStrictEqual(withoutRepeats(received()), range(1, 15))
        assert.strictEqual(new Set(received().map(({ id }) => id)).size, 15)
      }))

    it.live("ends the attempt when a batch is interrupted, because part of it may have been sent", () =>
      Effect.gen(function*() {
        const { cut, hold, received, sink, waitUntil } = yield* make
        yield* sink.publish(makeEvents(1, 5), 1)
        yield* hold
        const interrupted = yield* Effect.forkChild(sink.publish(makeEvents(6, 5), 1))
        yield* waitUntil(() => received().length >= 10)
        yield* Fiber.interrupt(interrupted)
        yield* Effect.flip(sink.publish(makeEvents(11, 5), 1))
        yield* cut("back")
        yield* Effect.retry(sink.publish(makeEvents(6, 10), 2), { times: 5 })
        yield* waitUntil(() => received().some(({ seq }) => seq === 15))
        assert.deepStrictEqual(withoutRepeats(received()), range(1, 15))
      }))

    it.live("fails within a bound while the other side is away, and reports no event data", () =>
      Effect.gen(function*() {
        const { cut, hold, sink } = yield* make
        yield* sink.publish(makeEvents(1, 1), 1)
        yield* hold
        yield* cut("away")
        const events = makeEvents(2, 3)
        const error = yield* Effect.flip(sink.publish(events, 2)).pipe(Effect.timeout("15 seconds"))
        assert.strictEqual(error._tag, "SinkUnavailable")
        assert.deepInclude(error, { sink: sink.name, reason: "disconnected" })
        const words = JSON.stringify(error)
        assert.include(error.message, sink.name)
        for (const event of events) assert.notInclude(words, event.id)
        assert.notInclude(words, secret)
        assert.notInclude(words, "hello")
      }))

    it.live("accepts events of any kind, also kinds without a reader", () =>
      Effect.gen(function*() {
        const { sink } = yield* make
        const kinds: ReadonlyArray<EventKind> = ["message.ack", "device.state", "frame.rejected", "gateway.presence"]
        yield* sink.publish(kinds.flatMap((kind, index) => makeEvents(index + 1, 1, kind)), 1)
      }))
  })
}
