/** Until when a process was alive, as the next process reads it. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Latch, Layer } from "effect"
import { TestClock } from "effect/testing"
import * as Heartbeat from "../../../src/actors/fleet/Heartbeat.ts"
import type { Forgotten } from "../../../src/actors/fleet/Heartbeat.ts"
import * as RunningTime from "../../../src/actors/fleet/RunningTime.ts"
import * as MemoryDatabase from "../../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryGapRepository from "../../../src/layers/memory/MemoryGapRepository.ts"
import * as MemoryLogStore from "../../../src/layers/memory/MemoryLogStore.ts"
import * as GroupCommit from "../../../src/log/GroupCommit.ts"
import { LogStore } from "../../../src/log/LogStore.ts"
import { StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { GapRepository } from "../../../src/services/GapRepository.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"

const owner = "node 1"
const at = (seconds: number): string => new Date(seconds * 1000).toISOString()

/** A process with heartbeats, over a database whose writes can be delayed. */
const makeBenchOn = Effect.fnUntraced(function*(running: RunningTime.RunningTime) {
  const database = yield* Layer.build(MemoryDatabase.layer)
  const { tables } = Context.get(database, MemoryDatabase.MemoryDatabase)
  const store = Context.get(yield* Effect.provideContext(Layer.build(MemoryLogStore.layer), database), LogStore)
  const writable = yield* Latch.make(true)
  const held = LogStore.of({ ...store, write: (batch) => writable.whenOpen(store.write(batch)) })
  const context = yield* Layer.build(
    Layer.merge(
      GroupCommit.layer.pipe(Layer.provide(Layer.succeed(LogStore, held))),
      MemoryGapRepository.layer.pipe(Layer.provide(Layer.succeedContext(database)))
    )
  )
  const ledger = Context.get(context, GapRepository)
  const forgotten: Array<Forgotten> = []
  let closing = false
  let away = false
  const repository = GapRepository.of({
    ...ledger,
    heartbeat: (of) => Effect.suspend(() => away ? Effect.fail(StorageUnavailable.of("test")) : ledger.heartbeat(of))
  })
  yield* Heartbeat.make({
    owner,
    interval: Duration.seconds(5),
    running,
    closing: () => closing,
    onForgotten: (interval) => Effect.sync(() => forgotten.push(interval))
  }).pipe(Effect.provideService(GapRepository, repository), Effect.provideContext(context))
  return {
    tables,
    writable,
    forgotten,
    log: Context.get(context, EventLog),
    aliveAt: () => tables.heartbeats.get(owner) ?? null,
    close: () => {
      closing = true
    },
    setAway: (next: boolean) => {
      away = next
    }
  }
})

const makeBench = Effect.flatMap(RunningTime.make(), makeBenchOn)

describe("the heartbeat of a process that owns devices", () => {
  it.effect("records every five seconds until when the process was alive, and nothing during a database outage", () =>
    Effect.gen(function*() {
      const { aliveAt, setAway } = yield* makeBench
      yield* TestClock.adjust("10 millis")
      assert.strictEqual(aliveAt(), at(0))
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(aliveAt(), at(5))
      setAway(true)
      yield* TestClock.adjust("20 seconds")
      assert.strictEqual(aliveAt(), at(5))
      setAway(false)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(aliveAt(), at(30))
    }))

  it.effect("waits while received events are not committed, and is then committed after them", () =>
    Effect.gen(function*() {
      const { aliveAt, log, tables, writable } = yield* makeBench
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual(aliveAt(), at(5))
      yield* writable.close
      log.push(messageDraft({ device: freshDevice() }))
      yield* TestClock.adjust("60 seconds")
      assert.deepStrictEqual([aliveAt(), tables.head], [at(5), 0])
      yield* writable.open
      yield* TestClock.adjust("10 millis")
      // The delayed heartbeat has the time at which it was made.
      assert.deepStrictEqual([aliveAt(), tables.head], [at(10), 1])
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(aliveAt(), at(71))
    }))

  it.effect("does not vouch for what waits unread after the process stood still, until a dead connection would have been noticed", () =>
    Effect.gen(function*() {
      const running = new RunningTime.RunningTime(0)
      const { aliveAt, setAway } = yield* makeBenchOn(running)
      let now = 0
      const run = Effect.fnUntraced(function*(seconds: number) {
        for (let second = 0; second < seconds; second++) {
          yield* TestClock.adjust("1 second")
          running.tick(now += 1000)
        }
      })
      yield* run(10)
      assert.strictEqual(aliveAt(), at(10))
      setAway(true)
      yield* TestClock.adjust("240 seconds")
      setAway(false)
      yield* TestClock.adjust("5 seconds")
      now += 245_000
      assert.strictEqual(aliveAt(), at(10), "no tick has seen yet that it stood still")
      yield* run(10)
      assert.strictEqual(aliveAt(), at(19), "nine seconds that it has run since")
      yield* run(40)
      assert.strictEqual(aliveAt(), at(305))
    }))

  it.effect("records nothing once the process closes its sessions", () =>
    Effect.gen(function*() {
      const { aliveAt, close } = yield* makeBench
      yield* TestClock.adjust("6 seconds")
      close()
      yield* TestClock.adjust("60 seconds")
      assert.strictEqual(aliveAt(), at(5))
    }))

  it.effect("reports the time that a restored database lacks, once, and continues from there", () =>
    Effect.gen(function*() {
      const { aliveAt, forgotten, tables } = yield* makeBench
      yield* TestClock.adjust("30 seconds")
      assert.strictEqual(aliveAt(), at(30))
      tables.heartbeats.set(owner, at(10))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(forgotten, [{ from: at(10), to: at(35) }])
      assert.strictEqual(aliveAt(), at(35))
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(forgotten, 1)
      // Older than this process: the newest known time is that of another process.
      tables.heartbeats.clear()
      tables.heartbeats.set("node 0", at(-100))
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(forgotten.at(-1), { from: at(-100), to: at(70) })
      yield* TestClock.adjust("5 seconds")
      tables.heartbeats.clear()
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(forgotten.at(-1), { from: null, to: at(80) })
      assert.lengthOf(forgotten, 3)
    }))

  it.effect("reports the time since the last heartbeat when the log was reset by less than one", () =>
    Effect.gen(function*() {
      const { forgotten, log, tables } = yield* makeBench
      const device = freshDevice()
      log.push(messageDraft({ device }))
      log.push(messageDraft({ device }))
      yield* TestClock.adjust("11 seconds")
      assert.strictEqual(tables.head, 2)
      for (const event of tables.events.splice(1)) tables.seqById.delete(event.id)
      tables.head = 1
      yield* TestClock.adjust("5 seconds")
      // To the second: a heartbeat waits for the batch that gathers.
      const seconds = forgotten.map(({ from, to }) => [from, to].map((time) => Math.floor(Date.parse(time!) / 1000)))
      assert.deepStrictEqual(seconds, [[10, 15]])
      yield* TestClock.adjust("30 seconds")
      assert.lengthOf(forgotten, 1)
    }))

  it.effect("does not mistake its own claim for a restored database", () =>
    Effect.gen(function*() {
      const { aliveAt, forgotten, tables, writable } = yield* makeBench
      yield* writable.close
      yield* TestClock.adjust("10 millis")
      // A claim writes the row while the first heartbeat is on its way.
      tables.heartbeats.set(owner, at(0.01))
      yield* writable.open
      yield* TestClock.adjust("30 seconds")
      assert.deepStrictEqual(forgotten, [])
      assert.strictEqual(aliveAt(), at(30.01))
    }))
})
