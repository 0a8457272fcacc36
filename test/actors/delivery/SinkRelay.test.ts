import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Logger, Queue, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import * as fc from "fast-check"
import * as SinkRelay from "../../../src/actors/delivery/SinkRelay.ts"
import { StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import type { LoggedEvent } from "../../../src/domain/Event.ts"
import { DeviceId, EventId } from "../../../src/domain/Ids.ts"
import { EventsExpired } from "../../../src/domain/MessageErrors.ts"
import { CursorLost, EventLog } from "../../../src/services/EventLog.ts"
import * as RecordingSink from "../../support/RecordingSink.ts"
import { SinkUnavailable } from "../../../src/services/EventSink.ts"
import type { EventSink } from "../../../src/services/EventSink.ts"
import { propertyLimits } from "../../support/propertyLimits.ts"

describe("a relay with a sink that accepts one run at a time", () => {
  it.effect("moves the cursor only after the sink has confirmed", () =>
    Effect.gen(function*() {
      const { call, log, view } = yield* relayed({ events: 3 })
      const run = yield* call
      assert.deepStrictEqual(run.seqs, [1, 2, 3])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(log.cursor, 0)
      yield* run.confirm
      yield* log.reaches(3)
      assert.strictEqual((yield* view).confirmed, 3)
    }))

  it.effect("sends again from the first unconfirmed event after a failure, in a later attempt", () =>
    Effect.gen(function*() {
      const { call, log } = yield* relayed({ events: 200 })
      const first = yield* call
      assert.deepStrictEqual([first.seqs[0], first.seqs.at(-1)], [1, 128])
      yield* first.confirm
      const second = yield* call
      assert.deepStrictEqual([second.seqs[0], second.seqs.at(-1)], [129, 200])
      yield* second.fail("disconnected")
      const again = yield* call
      assert.deepStrictEqual(again.seqs, second.seqs)
      assert.isAbove(again.attempt, second.attempt)
      yield* again.confirm
      yield* log.reaches(200)
    }))

  it.effect("waits longer and longer while nothing is confirmed, up to about five seconds", () =>
    Effect.gen(function*() {
      const { call } = yield* relayed({ events: 1 })
      for (const atMost of [130, 250, 490, 970, 1930, 3850, 6000, 6000]) {
        yield* (yield* call).fail("disconnected")
        const next = yield* Effect.forkChild(call, { startImmediately: true })
        yield* TestClock.adjust(atMost / 3)
        assert.isUndefined(next.pollUnsafe())
        yield* TestClock.adjust(atMost)
        const again = yield* Fiber.join(next)
        yield* again.peek
      }
    }))

  it.effect("starts with short delays again once something was confirmed", () =>
    Effect.gen(function*() {
      const { call, log } = yield* relayed({ events: 1 })
      for (let failures = 0; failures < 8; failures++) {
        yield* (yield* call).fail("disconnected")
        yield* TestClock.adjust("6 seconds")
      }
      yield* (yield* call).confirm
      yield* log.add(1)
      yield* (yield* call).fail("disconnected")
      yield* TestClock.adjust("130 millis")
      yield* (yield* call).confirm
      yield* log.reaches(2)
    }))

  it.effect("shows why and since when it is blocked, until the sink accepts events again", () =>
    Effect.gen(function*() {
      const { call, view } = yield* relayed({ events: 1 })
      yield* (yield* call).fail("blocked")
      yield* TestClock.adjust("1 second")
      const run = yield* call
      yield* run.fail("blocked")
      const waiting = yield* view
      assert.strictEqual(waiting.state, "waiting")
      assert.strictEqual(waiting.failure?.reason, "blocked")
      assert.strictEqual(waiting.failure?.since, "1970-01-01T00:00:00.000Z")
      yield* TestClock.adjust("5 seconds")
      yield* (yield* call).confirm
      const running = yield* view
      assert.strictEqual(running.state, "running")
      assert.isNull(running.failure)
    }))

  it.effect("survives a defect of the sink and retries", () =>
    Effect.gen(function*() {
      const { call, log, view } = yield* relayed({ events: 1 })
      yield* (yield* call).crash
      yield* TestClock.adjust("1 millis")
      assert.strictEqual((yield* view).failure?.reason, "defect")
      yield* TestClock.adjust("1 second")
      yield* (yield* call).confirm
      yield* log.reaches(1)
    }))
})

describe("a relay with a sink that overlaps runs", () => {
  it.effect("opens an attempt with one run and sends the others in order once it is confirmed", () =>
    Effect.gen(function*() {
      const { call, calls } = yield* relayed({ events: 128 * 6, overlap: 3 })
      const first = yield* call
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Queue.size(calls), 0)
      yield* first.confirm
      const starts = [(yield* call).seqs[0], (yield* call).seqs[0], (yield* call).seqs[0]]
      assert.deepStrictEqual(starts, [129, 257, 385])
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Queue.size(calls), 0)
    }))

  it.effect("does not move the cursor past an unconfirmed run, though later ones are confirmed", () =>
    Effect.gen(function*() {
      const { call, log } = yield* relayed({ events: 128 * 3, overlap: 2 })
      yield* (yield* call).confirm
      yield* log.reaches(128)
      const second = yield* call
      const third = yield* call
      yield* third.confirm
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(log.cursor, 128)
      yield* second.confirm
      yield* log.reaches(384)
    }))

  it.effect("sends again the runs that were confirmed after an unconfirmed run", () =>
    Effect.gen(function*() {
      const { call } = yield* relayed({ events: 128 * 3, overlap: 2 })
      yield* (yield* call).confirm
      const second = yield* call
      yield* (yield* call).confirm
      yield* second.fail("rejected")
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* call).seqs[0], 129)
    }))

  it.effect("cuts runs by bytes, and sends an event larger than the bound alone", () =>
    Effect.gen(function*() {
      const { call, log } = yield* relayed({ events: 0, overlap: 1 })
      yield* log.add(4, "x".repeat(400_000))
      const sizes: Array<number> = []
      for (let run = 0; run < 2; run++) {
        const next = yield* call
        sizes.push(next.seqs.length)
        yield* next.confirm
      }
      assert.deepStrictEqual(sizes, [2, 2])
      yield* log.add(2, "x".repeat(2_000_000))
      assert.deepStrictEqual((yield* call).seqs, [5])
    }))

  it("skips no event and keeps their order, whatever fails and whenever", () =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 1500 }),
        fc.array(fc.record({ delay: fc.integer({ min: 0, max: 400 }), fails: fc.boolean() }), { maxLength: 30 }),
        fc.array(fc.nat({ max: 40 }), { maxLength: 4 }),
        (overlap, events, outcomes, storageFailures) =>
          Effect.runPromise(
            Effect.scoped(anyFailures({ overlap, events, outcomes, storageFailures })).pipe(
              Effect.provide(TestClock.layer())
            )
          )
      ),
      propertyLimits(150)
    ))
})

describe("a relay and its cursor", () => {
  it.effect("stays on standby while another reader has the cursor and moves it", () =>
    Effect.gen(function*() {
      const { calls, log, view } = yield* robbed
      assert.strictEqual(log.cursor, 0)
      assert.strictEqual((yield* view).state, "stopped")
      assert.strictEqual((yield* view).failure?.reason, "cursor-lost")
      yield* log.add(30)
      for (let minute = 1; minute <= 15; minute++) {
        for (const part of [1, 2]) {
          log.cursor = minute * 2 + part - 2
          yield* TestClock.adjust("29 seconds")
        }
      }
      assert.strictEqual(log.epoch, 2)
      assert.strictEqual(yield* Queue.size(calls), 0)
      assert.isAtLeast((yield* view).confirmed, 28)
    }))

  it.effect("leaves the cursor to a reader that has nothing to deliver", () =>
    Effect.gen(function*() {
      const { log } = yield* robbed
      log.cursor = 1
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(log.epoch, 2)
    }))

  it.effect("takes the cursor over from a reader that is gone, and continues after the confirmed events", () =>
    Effect.gen(function*() {
      const { call, log, view } = yield* robbed
      yield* log.add(2)
      log.cursor = 2
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(log.epoch, 3)
      const run = yield* call
      assert.deepStrictEqual(run.seqs, [3])
      yield* run.confirm
      yield* log.reaches(3)
      assert.deepInclude(yield* view, { state: "running", confirmed: 3, lag: 0, failure: null })
    }))

  it.effect("does not take the cursor over while the database does not answer, and ends at once", () =>
    Effect.gen(function*() {
      const { close, log } = yield* robbed
      log.away = true
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(log.epoch, 2)
      yield* close
    }))

  it.effect("starts after the cursor, also when the database became available late", () =>
    Effect.gen(function*() {
      const log = makeLog(5)
      log.cursor = 3
      log.away = true
      const { call, view } = yield* relayed({ log })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* view).state, "starting")
      assert.strictEqual((yield* view).failure?.reason, "storage")
      log.away = false
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual((yield* call).seqs, [4, 5])
    }))

  it.effect("lets events in flight be confirmed during a database outage, and continues reading afterwards", () =>
    Effect.gen(function*() {
      const { call, log, view } = yield* relayed({ events: 128, overlap: 4 })
      const first = yield* call
      log.away = true
      yield* log.add(1)
      yield* TestClock.adjust("1 second")
      yield* first.confirm
      yield* log.reaches(128)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* view).failure?.reason, "storage")
      log.away = false
      yield* TestClock.adjust("10 seconds")
      assert.isNull((yield* view).failure)
      const next = yield* call
      assert.deepStrictEqual(next.seqs, [129])
    }))

  it.effect("continues with the oldest kept event after retention deleted some, and counts the deleted ones", () =>
    Effect.gen(function*() {
      const log = makeLog(10)
      log.oldest = 8
      const { call, view } = yield* relayed({ log })
      const run = yield* call
      assert.deepStrictEqual(run.seqs, [8, 9, 10])
      assert.strictEqual((yield* view).expired, 7)
      yield* run.confirm
      yield* log.reaches(10)
    }))

  it.effect.each([
    { claim: "a later claim", epoch: 5 },
    { claim: "the same claim", epoch: 1 }
  ])(
    "counts nothing as deleted in a copy of the database in which $claim has come further, and continues there",
    ({ epoch }) =>
      Effect.gen(function*() {
        const { call, log, view } = yield* relayed({ events: 3 })
        yield* (yield* call).confirm
        yield* log.reaches(3)
        Object.assign(log, { oldest: 6, cursor: 8, epoch })
        yield* log.add(7)
        yield* TestClock.adjust("2 minutes")
        const run = yield* call
        assert.deepStrictEqual(run.seqs, [9, 10])
        assert.strictEqual((yield* view).expired, 0)
        yield* run.confirm
        yield* log.reaches(10)
      })
  )

  it.effect("does not wait for the cursor to be durable before it sends the next run", () =>
    Effect.gen(function*() {
      const log = makeLog(129)
      log.slowCursor = true
      const { call } = yield* relayed({ log })
      yield* (yield* call).confirm
      assert.deepStrictEqual((yield* call).seqs, [129])
      assert.strictEqual(log.cursor, 0)
    }))
})

describe("the shutdown of a relay", () => {
  it.effect("waits for the confirms of events in flight, sends nothing new, and writes the cursor", () =>
    Effect.gen(function*() {
      const { call, calls, close, log, view } = yield* relayed({ events: 300 })
      const first = yield* call
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      assert.isUndefined(closing.pollUnsafe())
      yield* first.confirm
      yield* Fiber.join(closing)
      assert.strictEqual(log.cursor, 128)
      assert.strictEqual(yield* Queue.size(calls), 0)
      assert.strictEqual((yield* view).state, "stopped")
    }))

  it.effect("stops waiting within a bound for a sink that never confirms, and leaves the cursor", () =>
    Effect.gen(function*() {
      const { call, close, log } = yield* relayed({ events: 1 })
      yield* call
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      yield* TestClock.adjust("8 seconds")
      yield* Fiber.join(closing)
      assert.strictEqual(log.cursor, 0)
    }))

  it.effect("does not stay on standby for a cursor that turns out to be lost", () =>
    Effect.gen(function*() {
      const { call, close, log } = yield* relayed({ events: 1 })
      const run = yield* call
      log.epoch++
      const closing = yield* Effect.forkChild(close, { startImmediately: true })
      yield* run.confirm
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(closing)
    }), 2000)

  it.effect("does not wait for a sink that is unavailable", () =>
    Effect.gen(function*() {
      const { call, close } = yield* relayed({ events: 1 })
      yield* (yield* call).fail("disconnected")
      yield* close
    }))

  it.effect("does not wait for a database that was never available", () =>
    Effect.gen(function*() {
      const log = makeLog(1)
      log.away = true
      const { close } = yield* relayed({ log })
      yield* TestClock.adjust("1 second")
      yield* close
    }))
})

interface Outcome {
  readonly delay: number
  readonly fails: boolean
}

/** Any mixture of slow, failing and overtaking confirms, and of failing reads; then everything recovers. */
const anyFailures = Effect.fnUntraced(function*(options: {
  readonly overlap: number
  readonly events: number
  readonly outcomes: ReadonlyArray<Outcome>
  readonly storageFailures: ReadonlyArray<number>
}) {
  const log = makeLog(options.events)
  for (const read of options.storageFailures) log.failingReads.add(read)
  const confirmed = new Set<number>()
  let calls = 0
  const { received, sink } = RecordingSink.make({
    name: "test",
    overlap: options.overlap,
    confirm: Effect.fnUntraced(function*(events) {
      const outcome = options.outcomes[calls++] ?? { delay: 0, fails: false }
      yield* Effect.sleep(outcome.delay)
      if (outcome.fails) return yield* away("rejected")
      for (const event of events) confirmed.add(event.seq)
    })
  })
  log.onMove = (seq) => {
    for (let each = 1; each <= seq; each++) assert.isTrue(confirmed.has(each), `cursor ${seq} over unconfirmed ${each}`)
  }
  yield* SinkRelay.make(sink).pipe(Effect.provideService(EventLog, log.service), Effect.provide(Logger.layer([])))
  for (let seconds = 0; seconds < 600 && log.cursor < options.events; seconds++) yield* TestClock.adjust("1 second")
  assert.strictEqual(log.cursor, options.events)
  const first = [...new Set(received.map(({ seq }) => seq))]
  assert.deepStrictEqual(first, Array.from({ length: options.events }, (_, index) => index + 1))
})

const away = (reason: SinkUnavailable["reason"]) => Effect.fail(SinkUnavailable.of("test", reason, "as the test wants"))

/** A relay over a log and a sink whose every answer the test gives. */
const relayed = Effect.fnUntraced(function*(options: {
  readonly events?: number
  readonly overlap?: number
  readonly log?: ReturnType<typeof makeLog>
}) {
  const log = options.log ?? makeLog(options.events ?? 0)
  const calls = yield* Queue.unbounded<{
    readonly events: ReadonlyArray<LoggedEvent>
    readonly attempt: number
    readonly answer: Deferred.Deferred<void, SinkUnavailable>
  }>()
  const answers: Array<Deferred.Deferred<void, SinkUnavailable>> = []
  const sink: EventSink = {
    name: "test",
    overlap: options.overlap,
    publish: Effect.fnUntraced(function*(events, attempt) {
      const answer = yield* Deferred.make<void, SinkUnavailable>()
      answers.push(answer)
      yield* Queue.offer(calls, { events, attempt, answer })
      yield* Deferred.await(answer)
    })
  }
  const scope = yield* Scope.fork(yield* Effect.scope)
  const { view } = yield* SinkRelay.make(sink).pipe(
    Effect.provideService(EventLog, log.service),
    Scope.provide(scope)
  )
  // The clock stops when a test is over, so that the shutdown must have nothing to wait for.
  yield* Effect.addFinalizer(() => {
    log.slowCursor = false
    return Effect.forEach(answers, Deferred.fail(SinkUnavailable.of("test", "disconnected", "the test is over")))
  })
  const call = Effect.map(Queue.take(calls), ({ answer, attempt, events }) => ({
    attempt,
    seqs: events.map((event) => event.seq),
    confirm: Deferred.succeed(answer, undefined),
    fail: (reason: SinkUnavailable["reason"]) => Deferred.fail(answer, SinkUnavailable.of("test", reason, "as told")),
    crash: Deferred.die(answer, new Error("a defect")),
    peek: Queue.offer(calls, { events, attempt, answer })
  }))
  return { call, calls, log, view, close: Scope.close(scope, Exit.void) }
})

/** A relay whose cursor somebody else has just claimed, with one event undelivered. */
const robbed = Effect.gen(function*() {
  const relay = yield* relayed({ events: 1 })
  const run = yield* relay.call
  relay.log.epoch++
  yield* run.confirm
  yield* TestClock.adjust("1 second")
  return relay
})

/** A log whose faults the test sets. */
const makeLog = (count: number) => {
  const events: Array<LoggedEvent> = []
  const waiting = new Set<() => void>()
  let reads = 0
  const wake = () => {
    const woken = [...waiting]
    waiting.clear()
    for (const one of woken) one()
  }
  const until = (ready: () => boolean) =>
    Effect.callback<void>((resume) => {
      const look = () => ready() ? resume(Effect.void) : void waiting.add(look)
      look()
      return Effect.sync(() => waiting.delete(look))
    })
  const state = {
    cursor: 0,
    epoch: 0,
    oldest: 1,
    away: false,
    slowCursor: false,
    failingReads: new Set<number>(),
    onMove: (_seq: number) => {}
  }
  const add = (more: number, body = "{}") =>
    Effect.sync(() => {
      for (let added = 0; added < more; added++) events.push(makeEvent(events.length + 1, body))
      wake()
    })
  const follow: EventLog["Service"]["follow"] = ({ after: start }) =>
    Stream.unfold(
      start,
      Effect.fnUntraced(function*(after) {
        yield* until(() => events.length > after)
        if (state.away || state.failingReads.has(reads++)) return yield* StorageUnavailable.of("read")
        if (after < state.oldest - 1) return yield* EventsExpired.of(after, state.oldest)
        const page = events.slice(after, after + 500)
        return [{ events: page, through: after + page.length, throughId: null }, after + page.length] as const
      })
    )
  const service = EventLog.of({
    append: () => Effect.die("not used"),
    push: () => true,
    hasRoom: () => true,
    pushEffects: () => {},
    onRoom: () => () => {},
    flush: Effect.void,
    read: () => Effect.die("not used"),
    locate: () => Effect.die("not used"),
    latest: () => Effect.die("not used"),
    cursors: Effect.sync(() => [{ sink: "test", epoch: state.epoch, seq: state.cursor, limited: false }]),
    resumeCursor: () => Effect.die("not used"),
    generation: () => 0,
    deleteOlderThan: () => Effect.succeed({ _tag: "Deleted", count: 0 }),
    mergeIdentities: Effect.succeed(0),
    eraseChat: () => Effect.die("not used"),
    eraseDevice: () => Effect.die("not used"),
    bounds: Effect.suspend(() =>
      state.away
        ? Effect.fail(StorageUnavailable.of("read"))
        : Effect.succeed({ head: events.length, headId: null, oldest: state.oldest, logId: "test" })
    ),
    follow,
    followEach: (options, take) => Effect.andThen(Stream.runForEach(follow(options), take), Effect.never),
    claimCursor: (sink) =>
      Effect.suspend(() =>
        state.away
          ? Effect.fail(StorageUnavailable.of("claim"))
          : Effect.succeed({ sink, epoch: ++state.epoch, seq: state.cursor, generation: 0 })
      ),
    moveCursor: (claim, seq) =>
      Effect.gen(function*() {
        if (claim.epoch !== state.epoch) return yield* CursorLost.of(claim.sink, claim.epoch)
        if (state.slowCursor) yield* Effect.sleep("1 hour")
        state.onMove(seq)
        state.cursor = Math.max(state.cursor, seq)
        wake()
      })
  })
  Effect.runSync(add(count))
  /** Returns when the durable cursor has this value. */
  const reaches = (seq: number) => until(() => state.cursor === seq)
  return Object.assign(state, { add, reaches, service })
}

const makeEvent = (seq: number, data: string): LoggedEvent => ({
  seq,
  id: EventId.make(`0199b2c4-0000-7000-8000-${String(seq).padStart(12, "0")}`),
  kind: "message.received",
  deviceId: DeviceId.make(`dev_01K0000000000000000000000${seq % 7}`),
  occurredAt: "1970-01-01T00:00:00.000Z",
  recordedAt: "1970-01-01T00:00:00.000Z",
  via: "live",
  data,
  bytes: Buffer.byteLength(data)
})
