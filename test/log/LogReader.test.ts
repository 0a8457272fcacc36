/** Who waits for whom when many readers are far behind and others are not. */
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

it.effect("a reader that finds what it wants in memory waits for none that reads the store", () =>
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
