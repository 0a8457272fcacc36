/** Which readers wait for each other when many are far behind and others are not. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { EventDraft } from "../../src/domain/Event.ts"
import * as MemoryDatabase from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import type { ReadBudget } from "../../src/services/EventLog.ts"
import { freshDevice, messageDraft } from "../support/drafts.ts"

const budget: ReadBudget = { take: () => 256 * 1024, settle: () => {}, require: () => Effect.void }

const device = freshDevice()
const say = (body: string) => messageDraft({ device, body })

it.effect("serves a reader from memory without waiting for readers of the store", () =>
  Effect.gen(function*() {
    let reads = 0
    const store = Layer.effect(
      LogStore,
      Effect.map(LogStore, (inner) =>
        LogStore.of({
          ...inner,
          read: () => Effect.suspend(() => (reads++, Effect.never))
        }))
    )
    const context = yield* Layer.build(GroupCommit.layer.pipe(
      Layer.provide(store),
      Layer.provide(MemoryLogStore.layer),
      Layer.provide(MemoryDatabase.layer)
    ))
    const log = Context.get(context, EventLog)
    const append = Effect.fnUntraced(function*(drafts: ReadonlyArray<EventDraft>) {
      const appending = yield* Effect.forkChild(log.append(drafts), { startImmediately: true })
      yield* TestClock.adjust("10 millis")
      yield* Fiber.join(appending)
    })
    // More than is kept in memory, then far more events than a reader that keeps up may lag behind.
    for (let batch = 0; batch < 6; batch++) {
      yield* append(Array.from({ length: 6 }, () => say("x".repeat(600_000))))
    }
    for (let batch = 0; batch < 5; batch++) {
      yield* append(Array.from({ length: 500 }, (_, index) => say(String(index))))
    }
    const { head } = yield* log.bounds
    const first = (after: number) =>
      Effect.forkChild(Stream.runHead(log.follow({ after, budget })), { startImmediately: true })
    for (let stream = 0; stream < 20; stream++) yield* first(0)
    const lagging = yield* first(head - 2_000)
    yield* TestClock.adjust("1 second")
    assert.strictEqual(reads, 4, "the readers that are behind use all places at the store")
    assert.isDefined(lagging.pollUnsafe(), "and the one that lags a little needs none")
    const page = yield* Fiber.join(lagging)
    assert(page._tag === "Some")
    assert.strictEqual(page.value.events[0]?.seq, head - 1_999)
  }))

it.effect("checks for unsignalled commits every five seconds while it waits, and every second while it finds some", () =>
  Effect.gen(function*() {
    let asked = 0
    const deaf = Layer.effect(
      LogStore,
      Effect.map(LogStore, (inner) =>
        LogStore.of({
          ...inner,
          bounds: Effect.suspend(() => (asked++, inner.bounds)),
          commits: Stream.never,
          shared: true
        }))
    )
    const database = yield* Layer.build(MemoryDatabase.layer)
    const open = <E, R>(store: Layer.Layer<LogStore, E, R>) =>
      Effect.map(
        Layer.build(
          Layer.fresh(GroupCommit.layer).pipe(Layer.provide(store), Layer.provide(Layer.succeedContext(database)))
        ),
        (context) => Context.get(context, EventLog)
      )
    const log = yield* open(deaf.pipe(Layer.provide(MemoryLogStore.layer)))
    const other = yield* open(MemoryLogStore.layer)
    const got: Array<number> = []
    yield* Effect.forkChild(
      Stream.runForEach(log.follow({ after: 0 }), ({ events }) =>
        Effect.sync(() => {
          got.push(...events.map(({ seq }) => seq))
        })),
      { startImmediately: true }
    )
    yield* TestClock.adjust("2 minutes")
    asked = 0
    yield* TestClock.adjust("1 minute")
    assert.strictEqual(asked, 12, "while nothing is missing")
    const commit = (body: string) => Effect.forkChild(other.append([say(body)]), { startImmediately: true })
    yield* commit("unsignalled")
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(got, [1], "at the latest")
    yield* commit("the next one")
    yield* TestClock.adjust("1 second")
    assert.deepStrictEqual(got, [1, 2], "and from then on within a second")
  }))

it.effect("gives a reader without a stream each event once and in order, waits for the next, and ends with the reader's error", () =>
  Effect.gen(function*() {
    const context = yield* Layer.build(GroupCommit.layer.pipe(
      Layer.provide(MemoryLogStore.layer),
      Layer.provide(MemoryDatabase.layer)
    ))
    const log = Context.get(context, EventLog)
    yield* log.append([say("1"), say("2"), say("3")])
    const seqs: Array<number> = []
    const reading = yield* Effect.forkChild(
      log.followEach({ after: 1 }, (page) => {
        seqs.push(...page.events.map(({ seq }) => seq))
        return page.through < 6 ? Effect.void : Effect.fail("enough")
      }),
      { startImmediately: true }
    )
    assert.deepStrictEqual(seqs, [2, 3])
    for (const text of ["4", "5", "6"]) {
      const appending = yield* Effect.forkChild(log.append([say(text)]), { startImmediately: true })
      yield* TestClock.adjust("10 millis")
      yield* Fiber.join(appending)
    }
    assert.strictEqual(yield* Effect.flip(Fiber.join(reading)), "enough")
    assert.deepStrictEqual(seqs, [2, 3, 4, 5, 6])
  }))
