/** Readiness and the gauges while nothing can be written. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Metric } from "effect"
import { TestClock } from "effect/testing"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import * as MemoryDatabase from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { LogStatus } from "../../src/services/LogStatus.ts"
import * as Metrics from "../../src/services/Metrics.ts"
import { Readiness } from "../../src/services/Readiness.ts"
import { freshDevice, messageDraft } from "../support/drafts.ts"

const makeLog = Effect.gen(function*() {
  const inner = Context.get(
    yield* Layer.build(MemoryLogStore.layer.pipe(Layer.provide(MemoryDatabase.layer))),
    LogStore
  )
  const control = { failure: null as Effect.Effect<never, StorageUnavailable> | null }
  const store = LogStore.of({
    ...inner,
    write: (batch) => Effect.suspend(() => control.failure ?? inner.write(batch))
  })
  const context = yield* Layer.build(LogStatus.readiness.pipe(
    Layer.provideMerge(Readiness.layer),
    Layer.provideMerge(GroupCommit.layer),
    Layer.provide(Layer.succeed(LogStore, store))
  ))
  const report = Context.get(context, Readiness).report
  return { log: Context.get(context, EventLog), control, check: Effect.map(report, ([check]) => check!) }
})

const say = () => messageDraft({ device: freshDevice() })

const readGauge = (gauge: Metric.Gauge<number>) => Effect.map(Metric.value(gauge), ({ value }) => value)

it.effect("makes the process unready after ten seconds without writes, and states why", () =>
  Effect.gen(function*() {
    const { check, control, log } = yield* makeLog
    yield* log.append([say()])
    yield* TestClock.adjust("5 seconds")
    assert.deepStrictEqual(yield* check, { name: "log", ready: true, detail: "last write 5 s ago" })
    control.failure = Effect.fail(StorageUnavailable.of("append to the log", "read-only"))
    const append = yield* Effect.forkChild(log.append([say()]), { startImmediately: true })
    yield* TestClock.adjust("9 seconds")
    const failing = yield* check
    assert.isTrue(failing.ready)
    assert.include(failing.detail, "writes have failed for 9 s: The database refused to append to the log (read-only)")
    yield* TestClock.adjust("1 second")
    assert.isFalse((yield* check).ready)
    control.failure = null
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(append)
    assert.isTrue((yield* check).ready)
  }))

it.effect("makes the process unready if a defect of the writer repeats each time", () =>
  Effect.gen(function*() {
    const { check, control, log } = yield* makeLog
    control.failure = Effect.die(new Error("planted"))
    const append = yield* Effect.forkChild(log.append([say()]), { startImmediately: true })
    yield* TestClock.adjust("20 seconds")
    const failing = yield* check
    assert.isFalse(failing.ready)
    assert.include(failing.detail, "a defect in this program")
    control.failure = null
    yield* TestClock.adjust("5 seconds")
    yield* Fiber.join(append)
  }))

it.effect("shows in the gauges what waits at the moment they are read, and nothing once it is written", () =>
  Effect.gen(function*() {
    const { control, log } = yield* makeLog
    control.failure = Effect.fail(StorageUnavailable.of("append to the log"))
    log.push(say())
    yield* TestClock.adjust("3 seconds")
    for (let index = 0; index < 4; index++) log.push(say())
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(yield* readGauge(Metrics.logQueueEvents), 5)
    assert.isAbove(yield* readGauge(Metrics.logQueueBytes), 5 * 512)
    log.push(say())
    assert.strictEqual(yield* readGauge(Metrics.logQueueEvents), 6)
    assert.isAtLeast(yield* readGauge(Metrics.logOldestWaiting), 4)
    assert.isAtLeast(yield* readGauge(Metrics.logWritesFailing), 4)
    control.failure = null
    yield* TestClock.adjust("5 seconds")
    yield* log.flush
    assert.strictEqual(yield* readGauge(Metrics.logQueueEvents), 0)
    assert.strictEqual(yield* readGauge(Metrics.logWritesFailing), 0)
  }))
