/** When the log writes, what it does when the store fails, and its guarantees to waiting callers. */
import { assert, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, Queue, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import type { EventDraft } from "../../src/domain/Event.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { queueEventsMax } from "../../src/log/AppendQueue.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { BatchRefused, LogStore } from "../../src/log/LogStore.ts"
import * as MemoryDatabase from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import { freshDevice, messageDraft, stateDraft } from "../support/drafts.ts"

interface Batch {
  readonly at: number
  readonly bodies: ReadonlyArray<string>
  readonly moves: number
}

const readBody = (data: string): string => (JSON.parse(data) as { body?: string }).body ?? ""

/** A log over a memory store that reports every write, and delays or fails it on request. */
const makeLog = Effect.gen(function*() {
  const inner = Context.get(
    yield* Layer.build(MemoryLogStore.layer.pipe(Layer.provide(MemoryDatabase.layer))),
    LogStore
  )
  const batches = yield* Queue.unbounded<Batch>()
  const control = {
    /** Writes wait for it. */
    gate: null as Deferred.Deferred<void> | null,
    away: false,
    /** The answer of the next write is lost after it was committed. */
    loseAnswer: false,
    poison: null as string | null,
    /** Every batch with drafts is refused. */
    refuseAll: false,
    /** No batch with cursors in it is accepted. */
    refuseMoves: false,
    /** The next write is committed, and its answer is nonsense that causes a defect in the writer. */
    nonsense: false,
    /** The next claim of a cursor gets no answer, and is not carried out before the test lets it. */
    delayClaim: false,
    /** Each is run right before a claim. */
    beforeClaims: [] as Array<Effect.Effect<unknown, StorageUnavailable>>,
    delayed: Effect.void as Effect.Effect<unknown, StorageUnavailable>
  }
  const store = LogStore.of({
    ...inner,
    claimCursor: (sink, known, start) =>
      Effect.suspend(() => {
        const claim = Effect.andThen(
          control.beforeClaims.pop() ?? Effect.void,
          inner.claimCursor(sink, known, start)
        )
        if (!control.delayClaim) return claim
        control.delayClaim = false
        control.delayed = claim
        return Effect.fail(StorageUnavailable.of("claim a cursor"))
      }),
    write: Effect.fnUntraced(function*(batch) {
      const { groups, moves } = batch
      const bodies = groups.flatMap(({ drafts }) => drafts).map((draft) => readBody(draft.data))
      yield* Queue.offer(batches, { at: yield* Clock.currentTimeMillis, bodies, moves: moves.length })
      if (control.gate !== null) yield* Deferred.await(control.gate)
      if (control.away) return yield* StorageUnavailable.of("append")
      if (control.poison !== null && bodies.includes(control.poison)) return yield* BatchRefused.of("test")
      if (control.refuseAll && bodies.length > 0) return yield* BatchRefused.of("test")
      if (control.refuseMoves && moves.length > 0) return yield* BatchRefused.of("test")
      const result = yield* inner.write(batch)
      if (control.nonsense) {
        control.nonsense = false
        return { ...result, written: null as never }
      }
      if (control.loseAnswer) {
        control.loseAnswer = false
        return yield* StorageUnavailable.of("append")
      }
      return result
    })
  })
  const scope = yield* Scope.make()
  const context = yield* Layer.buildWithScope(
    GroupCommit.layer.pipe(Layer.provide(Layer.succeed(LogStore, store))),
    scope
  )
  yield* Effect.addFinalizer(() => {
    control.away = false
    if (control.gate !== null) Deferred.doneUnsafe(control.gate, Effect.void)
    return Scope.close(scope, Exit.void)
  })
  return { log: Context.get(context, EventLog), batches, control, scope, store: inner }
})

const say = (body: string, device = freshDevice()) => messageDraft({ device, body })

it.effect("writes at once when idle, and delays a write within two milliseconds of the last one to form a batch", () =>
  Effect.gen(function*() {
    const { batches, log } = yield* makeLog
    yield* log.append([say("first")])
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 0, bodies: ["first"], moves: 0 })
    const second = yield* Effect.forkChild(log.append([say("second")]), { startImmediately: true })
    yield* TestClock.adjust("1 millis")
    log.push(say("third"))
    assert.isUndefined(second.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(second)
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 2, bodies: ["second", "third"], moves: 0 })
    yield* TestClock.adjust("3 millis")
    yield* log.append([say("fourth")])
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 5, bodies: ["fourth"], moves: 0 })
  }))

it.effect("lets drafts without a waiting caller gather for longer, and takes them along with others", () =>
  Effect.gen(function*() {
    const { batches, log } = yield* makeLog
    const device = freshDevice()
    const note = (body: string) =>
      log.push(say(body, device), { fence: { deviceId: device, epoch: 1 }, patient: true, onFenced: () => {} })
    note("first")
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 0, bodies: ["first"], moves: 0 })
    note("second")
    yield* TestClock.adjust("30 millis")
    note("third")
    yield* TestClock.adjust("20 millis")
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 50, bodies: ["second", "third"], moves: 0 })
    yield* TestClock.adjust("10 millis")
    note("fourth")
    yield* log.append([say("fifth")])
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 60, bodies: ["fourth", "fifth"], moves: 0 })
    note("sixth")
    yield* log.flush
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 60, bodies: ["sixth"], moves: 0 })
    yield* TestClock.adjust("1 minute")
    note("seventh")
    assert.deepStrictEqual((yield* Queue.take(batches)).bodies, ["seventh"], "at once after a pause")
  }))

it.effect("does not wait with a full batch, and splits larger ones", () =>
  Effect.gen(function*() {
    const { batches, log } = yield* makeLog
    yield* log.append([say("first")])
    for (let index = 0; index < 1001; index++) log.push(say(String(index)))
    yield* Queue.take(batches)
    assert.strictEqual((yield* Queue.take(batches)).bodies.length, 500)
    assert.strictEqual((yield* Queue.take(batches)).bodies.length, 500)
    yield* TestClock.adjust("2 millis")
    assert.deepStrictEqual((yield* Queue.take(batches)).bodies, ["1000"])
  }))

it.effect("keeps a batch within its bytes", () =>
  Effect.gen(function*() {
    const { batches, log } = yield* makeLog
    const large = "x".repeat(1_500_000)
    for (let index = 0; index < 3; index++) log.push(say(large))
    yield* TestClock.adjust("2 millis")
    assert.strictEqual((yield* Queue.take(batches)).bodies.length, 2)
    assert.strictEqual((yield* Queue.take(batches)).bodies.length, 1)
  }))

it.effect("gathers the next batch while one is written, in the order of the calls", () =>
  Effect.gen(function*() {
    const { batches, control, log } = yield* makeLog
    const device = freshDevice()
    control.gate = yield* Deferred.make<void>()
    log.push(say("0", device))
    yield* Queue.take(batches)
    for (let index = 1; index < 100; index++) log.push(say(String(index), device))
    yield* Deferred.succeed(control.gate, undefined)
    yield* TestClock.adjust("2 millis")
    yield* log.flush
    const { events } = yield* log.read({ after: 0, limit: 1000, device })
    assert.deepStrictEqual(
      events.map((event) => readBody(event.data)),
      Array.from({ length: 100 }, (_, i) => String(i))
    )
    assert.strictEqual((yield* Queue.take(batches)).bodies.length, 99)
  }))

it.effect("refuses above its bound, and calls back when there is room again", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    let called = 0
    log.onRoom(() => called++)()
    assert.strictEqual(called, 1)
    control.away = true
    const device = freshDevice()
    let taken = 0
    while (log.push(say(String(taken), device))) taken++
    assert.strictEqual(taken, queueEventsMax)
    const withdraw = log.onRoom(() => assert.fail("was withdrawn"))
    for (let index = 0; index < 300; index++) log.onRoom(() => called++)
    withdraw()
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(called, 1)
    control.away = false
    yield* TestClock.adjust("10 seconds")
    yield* log.flush
    yield* TestClock.adjust("1 seconds")
    assert.strictEqual(called, 301)
    assert.strictEqual((yield* log.bounds).head, queueEventsMax + 1)
  }))

/** A draft that signals when the log prepares it, which is when it takes memory of the queue. */
const counted = (body: string, device: DeviceId, onPrepare: () => void): EventDraft => {
  const draft = messageDraft({ device, body })
  const toJSON = () => {
    onPrepare()
    return draft.data
  }
  return { ...draft, data: Object.assign({ ...draft.data }, { toJSON }) }
}

it.effect("lets append wait while the log is over its bound, and keeps the order of the calls", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    control.away = true
    while (log.push(say("x"))) { /* until the bound */ }
    let prepared = 0
    const device = freshDevice()
    const calls = Array.from(
      { length: 30 },
      (_, call) =>
        Array.from({ length: 500 }, (_, index) => counted(String(call * 500 + index), device, () => prepared++))
    )
    const appends = yield* Effect.forEach(
      calls,
      (drafts) => Effect.forkChild(log.append(drafts), { startImmediately: true })
    )
    const flushed = yield* Effect.forkChild(log.flush, { startImmediately: true })
    yield* TestClock.adjust("10 seconds")
    assert.strictEqual(prepared, 0)
    yield* Fiber.interrupt(appends[7]!)
    control.away = false
    yield* TestClock.adjust("30 seconds")
    yield* Fiber.join(flushed)
    assert.strictEqual(prepared, 29 * 500)
    const bodies: Array<number> = []
    for (let after = 0;;) {
      const page = yield* log.read({ after, limit: 1000, device })
      if (page.events.length === 0) break
      for (const event of page.events) bodies.push(Number(readBody(event.data)))
      after = page.through
    }
    assert.deepStrictEqual(
      bodies,
      calls.flatMap((_, call) => call === 7 ? [] : Array.from({ length: 500 }, (_, index) => call * 500 + index))
    )
  }))

it.effect("counts its bound in the bytes that are written", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    control.away = true
    const threeBytesEach = "\u6f22".repeat(1_000_000)
    let taken = 0
    while (log.push(say(threeBytesEach))) taken++
    assert.strictEqual(taken, 11)
  }))

it.effect("repeats a batch whose answer was lost without writing anything twice", () =>
  Effect.gen(function*() {
    const { batches, control, log } = yield* makeLog
    const device = freshDevice()
    control.loseAnswer = true
    const append = yield* Effect.forkChild(log.append([stateDraft(device, "Inactive"), say("a", device)]))
    yield* Queue.take(batches)
    yield* TestClock.adjust("1 seconds")
    assert.deepStrictEqual(yield* Fiber.join(append), [
      { _tag: "Committed", seq: 1 },
      { _tag: "Committed", seq: 2 }
    ])
    assert.strictEqual((yield* log.bounds).head, 2)
    assert.strictEqual((yield* log.read({ after: 0, limit: 10 })).events.length, 2)
  }))

it.effect("withdraws an interrupted append that is in no batch yet", () =>
  Effect.gen(function*() {
    const { batches, control, log } = yield* makeLog
    control.gate = yield* Deferred.make<void>()
    log.push(say("first"))
    yield* Queue.take(batches)
    const waiting = yield* Effect.forkChild(log.append([say("withdrawn")]), { startImmediately: true })
    log.push(say("second"))
    yield* Fiber.interrupt(waiting)
    yield* Deferred.succeed(control.gate, undefined)
    yield* TestClock.adjust("2 millis")
    yield* log.flush
    assert.deepStrictEqual((yield* Queue.take(batches)).bodies, ["second"])
  }))

it.effect("finds the draft that the store refuses among many, keeps it as frame.rejected, and commits the others", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    const device = freshDevice()
    control.poison = "7"
    const results = yield* log.append(Array.from({ length: 20 }, (_, index) => say(String(index), device)))
    assert.deepStrictEqual(results.map((result) => result._tag), Array.from({ length: 20 }, () => "Committed"))
    const { events } = yield* log.read({ after: 0, limit: 100, device })
    assert.deepStrictEqual(
      events.map((event) => event.kind),
      Array.from({ length: 20 }, (_, index) => index === 7 ? "frame.rejected" : "message.received")
    )
  }))

it.effect("keeps the genuine event when the store refuses its frame.rejected too, and retries it with pauses", () =>
  Effect.gen(function*() {
    const { batches, control, log } = yield* makeLog
    control.refuseAll = true
    const append = yield* Effect.forkChild(log.append([say("a"), say("b")]), { startImmediately: true })
    yield* TestClock.adjust("20 seconds")
    assert.isUndefined(append.pollUnsafe())
    assert.isAtMost(yield* Queue.size(batches), 50)
    control.refuseAll = false
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(yield* Fiber.join(append), [
      { _tag: "Committed", seq: 1 },
      { _tag: "Committed", seq: 2 }
    ])
    const { events } = yield* log.read({ after: 0, limit: 10 })
    assert.deepStrictEqual(
      events.map((event) => [event.kind, readBody(event.data)]),
      [["message.received", "a"], ["message.received", "b"]]
    )
  }))

it.effect("writes a cursor with the next batch or alone after a short idle time, four times a second at most", () =>
  Effect.gen(function*() {
    const { batches, log } = yield* makeLog
    const claim = yield* log.claimCursor("sink", "beginning")
    yield* log.append([say("x"), say("y")])
    yield* Queue.take(batches)
    const riding = yield* Effect.forkChild(log.moveCursor(claim, 1), { startImmediately: true })
    yield* TestClock.adjust("10 millis")
    yield* log.append([say("a")])
    yield* Fiber.join(riding)
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 10, bodies: ["a"], moves: 1 })
    const alone = yield* Effect.forkChild(log.moveCursor(claim, 2), { startImmediately: true })
    yield* TestClock.adjust("100 millis")
    yield* log.append([say("b")])
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 110, bodies: ["b"], moves: 0 })
    yield* TestClock.adjust("149 millis")
    assert.isUndefined(alone.pollUnsafe())
    yield* TestClock.adjust("1 millis")
    yield* Fiber.join(alone)
    assert.deepStrictEqual(yield* Queue.take(batches), { at: 260, bodies: [], moves: 1 })
    assert.deepStrictEqual(yield* log.cursors, [{ sink: "sink", epoch: 1, seq: 2, limited: false }])
  }))

it.effect("does not let a claim that is carried out after its timeout end the claim that followed it", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    yield* log.append([say("x"), say("y")])
    for (const seq of [1, 2]) {
      control.delayClaim = true
      yield* Effect.flip(log.claimCursor("sink", "beginning"))
      const claim = yield* log.claimCursor("sink", "beginning")
      assert.strictEqual(claim.epoch, seq)
      yield* control.delayed
      const moved = yield* Effect.forkChild(log.moveCursor(claim, seq), { startImmediately: true })
      yield* TestClock.adjust("300 millis")
      yield* Fiber.join(moved)
    }
    assert.deepStrictEqual(yield* log.cursors, [{ sink: "sink", epoch: 2, seq: 2, limited: false }])
  }))

it.effect("claims a cursor that others claim at the same time, until eight of them were faster", () =>
  Effect.gen(function*() {
    const { control, log, store } = yield* makeLog
    const claimByOther = Effect.flatMap(
      store.cursorEpoch("sink"),
      (epoch) => store.claimCursor("sink", epoch, { from: "beginning", keep: null })
    )
    control.beforeClaims = Array.from({ length: 7 }, () => claimByOther)
    assert.strictEqual((yield* log.claimCursor("sink", "beginning")).epoch, 8)
    control.beforeClaims = Array.from({ length: 8 }, () => claimByOther)
    assert.strictEqual((yield* Effect.flip(log.resumeCursor("sink")))._tag, "StorageUnavailable")
    assert.strictEqual((yield* log.resumeCursor("sink"))?.epoch, 17)
  }))

it.effect("reports to an idle follower how far it has everything, every fifteen seconds", () =>
  Effect.gen(function*() {
    const { log } = yield* makeLog
    yield* log.append([say("a")])
    const pages = yield* Queue.unbounded<{ readonly events: number; readonly through: number }>()
    yield* Effect.forkChild(
      Stream.runForEach(log.follow({ after: 0, kinds: ["message.ack"] }), (page) =>
        Queue.offer(pages, { events: page.events.length, through: page.through })),
      { startImmediately: true }
    )
    yield* TestClock.adjust("14 seconds")
    assert.strictEqual(yield* Queue.size(pages), 0)
    yield* TestClock.adjust("1 seconds")
    assert.deepStrictEqual(yield* Queue.take(pages), { events: 0, through: 1 })
  }))

it.effect("writes what it holds when it is closed, and stops after a bound when the store is down", () =>
  Effect.gen(function*() {
    const { control, log, scope, store } = yield* makeLog
    yield* log.append([say("before")])
    log.push(say("last"))
    yield* Scope.close(scope, Exit.void)
    assert.strictEqual((yield* store.bounds).head, 2)

    const other = yield* makeLog
    other.control.away = true
    other.log.push(say("lost"))
    const closing = yield* Effect.forkChild(Scope.close(other.scope, Exit.void), { startImmediately: true })
    yield* TestClock.adjust("4 seconds")
    assert.isUndefined(closing.pollUnsafe())
    yield* TestClock.adjust("1 seconds")
    yield* Fiber.join(closing)
    assert.isFalse(control.away)
  }))

it.effect("loses nothing by a defect in the writer: drafts without an answer are written again, once", () =>
  Effect.gen(function*() {
    const { control, log, store } = yield* makeLog
    const claim = yield* log.claimCursor("sink", "beginning")
    yield* log.append([say("before")])
    control.nonsense = true
    const moved = yield* Effect.forkChild(log.moveCursor(claim, 1), { startImmediately: true })
    log.push(say("offered"))
    const append = yield* Effect.forkChild(log.append([say("a"), say("b")]), { startImmediately: true })
    yield* TestClock.adjust("2 seconds")
    assert.deepStrictEqual((yield* Fiber.join(append)).map((result) => result._tag), ["Committed", "Committed"])
    yield* Fiber.join(moved)
    yield* log.append([say("after")])
    assert.strictEqual((yield* store.bounds).head, 5)
    const { events } = yield* log.read({ after: 0, limit: 10 })
    assert.deepStrictEqual(events.map((event) => readBody(event.data)), ["before", "offered", "a", "b", "after"])
  }))

it.effect("continues after a callback for room that throws", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    control.away = true
    while (log.push(say("x"))) { /* until the bound */ }
    let told = false
    log.onRoom(() => {
      throw new Error("of a socket")
    })
    log.onRoom(() => {
      told = true
    })
    control.away = false
    yield* TestClock.adjust("10 seconds")
    yield* log.flush
    yield* TestClock.adjust("5 seconds")
    assert.isTrue(told)
    yield* log.append([say("after")])
  }))

it.effect("ends only the reader of a cursor that the store refuses to move", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    const claims = yield* Effect.forEach(["one", "two"], (sink) => log.claimCursor(sink, "beginning"))
    control.refuseMoves = true
    const moves = yield* Effect.forEach(
      claims,
      (claim) => Effect.forkChild(Effect.flip(log.moveCursor(claim, 1)), { startImmediately: true })
    )
    const append = yield* Effect.forkChild(log.append([say("a")]), { startImmediately: true })
    yield* TestClock.adjust("1 seconds")
    assert.deepStrictEqual(yield* Fiber.join(append), [{ _tag: "Committed", seq: 1 }])
    for (const move of moves) assert.strictEqual((yield* Fiber.join(move))._tag, "CursorLost")
    control.refuseMoves = false
    const alone = yield* Effect.forkChild(log.moveCursor(claims[0]!, 1), { startImmediately: true })
    yield* TestClock.adjust("1 seconds")
    yield* Fiber.join(alone)
    const { events } = yield* log.read({ after: 0, limit: 10 })
    assert.deepStrictEqual(events.map((event) => event.kind), ["message.received"])
  }))
