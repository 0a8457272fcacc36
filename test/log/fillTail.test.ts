/** Streams of one process that follow commits of others: the store is read once for all of them. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, PubSub, Stream } from "effect"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import * as MemoryDatabase from "../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../src/layers/memory/MemoryLogStore.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { fillFollowersMin } from "../../src/log/LogTail.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import type { EventLog as Log } from "../../src/services/EventLog.ts"
import { freshDevice, messageDraft } from "../support/drafts.ts"

const streams = 50
const device = freshDevice()
const say = (body: string) => messageDraft({ device, body })

/** Two processes over one store, which both receive every commit, in the order of the log. */
const processes = Effect.gen(function*() {
  const database = yield* Layer.build(MemoryDatabase.layer)
  const inner = Context.get(yield* Effect.provideContext(Layer.build(MemoryLogStore.layer), database), LogStore)
  const signals = yield* PubSub.unbounded<number>()
  const counted = { reads: 0, failing: false, silent: false }
  const open = (reader: boolean) =>
    Effect.map(
      Layer.build(
        Layer.fresh(GroupCommit.layer).pipe(
          Layer.provide(Layer.succeed(
            LogStore,
            LogStore.of({
              ...inner,
              shared: true,
              commits: Stream.fromPubSub(signals),
              write: (batch) =>
                Effect.tap(
                  inner.write(batch),
                  ({ head }) => counted.silent ? Effect.void : PubSub.publish(signals, head)
                ),
              read: (options) =>
                Effect.suspend(() => {
                  if (!reader) return inner.read(options)
                  counted.reads++
                  return counted.failing ? Effect.fail(StorageUnavailable.of("read")) : inner.read(options)
                })
            })
          ))
        )
      ),
      (context) => Context.get(context, EventLog)
    )
  return { ours: yield* open(true), other: yield* open(false), counted }
})

/** The numbers that a stream emits until it has `count`. */
const follow = (log: Log["Service"], count: number) =>
  log.follow({ after: 0 }).pipe(
    Stream.flatMap((page) => Stream.fromIterable(page.events)),
    Stream.map(({ seq }) => seq),
    Stream.take(count),
    Stream.runCollect,
    Effect.forkChild({ startImmediately: true })
  )

const all = (count: number) => Array.from({ length: count }, (_, index) => index + 1)

describe("streams that follow what other processes commit", () => {
  it.live("read the store once for all, and emit every event once and in order", () =>
    Effect.gen(function*() {
      const { counted, other, ours } = yield* processes
      const commits = 40
      const fibers = yield* Effect.forEach(all(streams), () => follow(ours, commits))
      counted.reads = 0
      for (const index of all(commits)) yield* other.append([say(String(index))])
      for (const fiber of fibers) assert.deepStrictEqual([...yield* Fiber.join(fiber)], all(commits))
      assert.isAtMost(counted.reads, 2 * commits, `${streams} streams`)
    }))

  it.live("are not confused by commits of their own process between others, which that process reads at once itself", () =>
    Effect.gen(function*() {
      const { other, ours } = yield* processes
      const commits = 60
      const fibers = yield* Effect.forEach(all(streams), () => follow(ours, commits))
      for (const index of all(commits)) {
        yield* (index % 3 === 0 ? ours : other).append([say(String(index))])
        if (index % 3 !== 0) continue
        const page = yield* ours.read({ after: index - 1, limit: 10 })
        assert.deepStrictEqual(page.events.map(({ seq }) => seq), [index])
      }
      for (const fiber of fibers) assert.deepStrictEqual([...yield* Fiber.join(fiber)], all(commits))
    }))

  it.live("read the store themselves for more than is loaded into memory at a time, and continue together after it", () =>
    Effect.gen(function*() {
      const { counted, other, ours } = yield* processes
      const many = 1500
      const fibers = yield* Effect.forEach(all(streams), () => follow(ours, many + 10))
      counted.silent = true
      for (let batch = 0; batch < 3; batch++) yield* other.append(all(many / 3).map(() => say("early")))
      counted.silent = false
      for (let index = 1; index < 10; index++) yield* other.append([say("late")])
      yield* other.append([say("last")])
      for (const fiber of fibers) assert.deepStrictEqual([...yield* Fiber.join(fiber)], all(many + 10))
    }))

  it.live("read the store themselves if the shared read failed, and end with their own error", () =>
    Effect.gen(function*() {
      const { counted, other, ours } = yield* processes
      yield* other.append([say("1")])
      const fibers = yield* Effect.forEach(all(fillFollowersMin), () => follow(ours, 3))
      counted.failing = true
      yield* other.append([say("2")])
      for (const fiber of fibers) {
        const error = yield* Effect.flip(Fiber.join(fiber))
        assert.strictEqual(error._tag, "StorageUnavailable")
      }
      counted.failing = false
      const again = yield* Effect.forEach(all(fillFollowersMin), () => follow(ours, 3))
      yield* other.append([say("3")])
      for (const fiber of again) assert.deepStrictEqual([...yield* Fiber.join(fiber)], [1, 2, 3])
    }))
})
