/** Deliveries to subscribers, over real HTTP. */
import { assert, describe, it } from "@effect/vitest"
import type { ServerResponse } from "node:http"
import { Deferred, Effect, Layer, Logger, Option, Redacted } from "effect"
import { Webhook } from "standardwebhooks"
import { toWire } from "../../../../src/domain/Event.ts"
import * as MemoryDatabase from "../../../../src/layers/memory/MemoryDatabase.ts"
import * as MemoryLogStore from "../../../../src/layers/memory/MemoryLogStore.ts"
import * as MemoryStorage from "../../../../src/layers/memory/MemoryStorage.ts"
import * as MemorySubscriptionRepository from "../../../../src/layers/memory/MemorySubscriptionRepository.ts"
import * as GroupCommit from "../../../../src/log/GroupCommit.ts"
import { LogStore } from "../../../../src/log/LogStore.ts"
import { EventLog } from "../../../../src/services/EventLog.ts"
import { concurrencyMax } from "../../../../src/services/subscriptionBounds.ts"
import { freshDevice } from "../../../support/drafts.ts"
import * as Subscriber from "../../../support/subscriber.ts"
import * as Rig from "./rig.ts"

const assertInOrderOfDevice = (received: ReadonlyArray<Subscriber.Received>) => {
  const last = new Map<string, number>()
  for (const { deviceId, seq } of received) {
    assert.isAbove(seq, last.get(deviceId) ?? 0)
    last.set(deviceId, seq)
  }
}

describe("a subscriber", () => {
  it.live("receives every event, in order per device, as the API returns it, with a signature that verifies", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const receiver = yield* Subscriber.start()
      yield* rig.emit(3)
      const { id, secret } = yield* rig.subscribe(receiver.url, {
        from: "beginning",
        headers: { authorization: Redacted.make("Bearer of-the-receiver") }
      })
      yield* rig.dispatch
      const devices = Array.from({ length: 10 }, freshDevice)
      const emitted = yield* rig.emit(300, devices)
      yield* receiver.until(() => receiver.taken().length === 303)
      assertInOrderOfDevice(receiver.taken())
      assert.lengthOf(receiver.received, 303)
      const { events } = yield* rig.log.read({ after: 0, limit: 1000 })
      const webhook = new Webhook(Redacted.value(secret))
      for (const { headers, text } of receiver.received) {
        const event = webhook.verify(text, headers as Record<string, string>) as { id: string; seq: string }
        const logged = events.find(({ seq }) => seq === Number(event.seq))!
        assert.strictEqual(text, toWire(logged))
        assert.strictEqual(headers["webhook-id"], logged.id)
        assert.deepInclude(headers, { authorization: "Bearer of-the-receiver", "content-type": "application/json" })
      }
      const row = yield* rig.untilRow(id, ({ behind }) => behind === 0)
      assert.strictEqual(row.position, String(emitted.at(-1)!))
      const { items } = yield* Effect.orDie(rig.manager.deliveries(id, { limit: 1000 }, undefined))
      assert.isAbove(items.length, 0)
      assert.deepInclude(items[0], { outcome: "delivered", status: 204, attempt: 1 })
    }))

  it.live("receives only the kinds and devices that it selected, and moves past the others", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const [mine, other] = [freshDevice(), freshDevice()]
      const receiver = yield* Subscriber.start()
      const { id } = yield* rig.subscribe(receiver.url, { devices: [mine], kinds: ["message.received"] })
      yield* rig.dispatch
      yield* rig.emit(10, [mine, other])
      yield* rig.untilRow(id, ({ behind }) => behind === 0)
      assert.deepStrictEqual([...new Set(receiver.received.map(({ deviceId }) => deviceId))], [mine])
      assert.lengthOf(receiver.received, 5)
    }))
})

/** Keeps every request open until the test lets it be answered. */
const makeGate = () => {
  const waiting: Array<() => void> = []
  let open = false
  const answer: Subscriber.Answer = (received, response) => {
    const answered = () => Subscriber.status(204)(received, response)
    if (open) answered()
    else waiting.push(answered)
  }
  return {
    answer,
    waiting: () => waiting.length,
    release: () => {
      open = true
      for (const answered of waiting.splice(0)) answered()
    }
  }
}

describe("a subscriber that misbehaves", () => {
  it.live("delays neither others nor the log, whether silent, failing, dripping, endless, closing or absent", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const bad = yield* Effect.forEach([
        () => {},
        Subscriber.status(500),
        Subscriber.status(302, { location: "http://127.0.0.1/" }),
        (_: Subscriber.Received, response: ServerResponse) => void response.socket!.destroy(),
        (_: Subscriber.Received, response: ServerResponse) => {
          response.writeHead(200)
          const fill = () => {
            while (!response.destroyed && response.write(Buffer.alloc(64 * 1024)));
          }
          response.on("drain", fill)
          fill()
        },
        (_: Subscriber.Received, response: ServerResponse) => {
          const timer = setInterval(() => response.socket?.write("H"), 200)
          response.on("close", () => clearInterval(timer))
        }
      ], (answer) => Subscriber.start(answer))
      const absent = "http://127.0.0.1:1/hook"
      for (const url of [...bad.map(({ url }) => url), absent]) yield* rig.subscribe(url)
      const good = yield* Subscriber.start()
      yield* rig.subscribe(good.url)
      yield* rig.dispatch
      const emitted = yield* rig.emit(500, Array.from({ length: 20 }, freshDevice))
      yield* good.until(() => good.taken().length === 500)
      assertInOrderOfDevice(good.received)
      assert.strictEqual(good.taken().length, emitted.length)
    }))

  it.live("makes Columba hold only a bounded part of the log in memory if slow, and receives all of it when fast again", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const gate = makeGate()
      const slow = yield* Subscriber.start(gate.answer)
      const fast = yield* Subscriber.start()
      const { id } = yield* rig.subscribe(slow.url)
      yield* rig.subscribe(fast.url)
      yield* rig.dispatch
      const devices = Array.from({ length: 30 }, freshDevice)
      for (let count = 0; count < 4; count++) yield* rig.emit(150, devices)
      yield* fast.until(() => fast.received.length === 600)
      yield* slow.until(() => gate.waiting() === concurrencyMax)
      assert.strictEqual((yield* rig.get(id)).behind, 600)
      gate.release()
      yield* slow.until(() => slow.received.length === 600)
      assertInOrderOfDevice(slow.received)
      assert.lengthOf(slow.taken(), 600)
    }))

  it.live("is disabled at once when it answers that it is gone, and keeps its position", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const subscriber = yield* Subscriber.start(Subscriber.status(410))
      const { id } = yield* rig.subscribe(subscriber.url)
      yield* rig.dispatch
      const [first] = yield* rig.emit(1)
      const row = yield* rig.untilRow(id, ({ state }) => state === "disabled")
      assert.deepStrictEqual([row.disabled?.reason, row.position.split("-")[0]], ["gone", String(first! - 1)])
      assert.lengthOf(subscriber.received, 1)
      subscriber.answer = Subscriber.status(204)
      yield* Effect.orDie(rig.manager.enable(id, undefined))
      yield* subscriber.until(() => subscriber.taken().length === 2)
      assert.deepStrictEqual(subscriber.taken().map(({ kind }) => kind), ["message.received", "subscription.disabled"])
    }))
})

describe("an operator", () => {
  it.live("pauses and resumes without loss, and replays under the same ids", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const subscriber = yield* Subscriber.start()
      const { id } = yield* rig.subscribe(subscriber.url)
      yield* rig.dispatch
      const device = [freshDevice()]
      yield* rig.emit(5, device)
      yield* rig.untilRow(id, ({ behind }) => behind === 0)
      yield* Effect.orDie(rig.manager.edit(id, { paused: true }, undefined))
      yield* rig.emit(5, device)
      yield* Effect.orDie(rig.manager.edit(id, { paused: false }, undefined))
      yield* subscriber.until(() => subscriber.taken().length === 10)
      yield* rig.untilRow(id, ({ behind }) => behind === 0)
      assert.lengthOf(subscriber.received, 10)
      yield* Effect.orDie(rig.manager.replay(id, "3", undefined))
      yield* subscriber.until(() => subscriber.received.length === 17)
      assert.deepStrictEqual(
        subscriber.received.slice(10).map((one) => one.id),
        subscriber.received.slice(3, 10).map((one) => one.id)
      )
    }))

  it.live("who has given this process other keys is informed, and nothing is disabled", () =>
    Effect.gen(function*() {
      const storage = Layer.succeedContext(yield* Layer.build(MemoryStorage.layerMemory))
      const subscriber = yield* Subscriber.start()
      const { id } = yield* (yield* Rig.make({ storage })).subscribe(subscriber.url)
      const rig = yield* Rig.make({ storage, secretKey: 1 })
      const { stop } = yield* rig.dispatch
      yield* rig.emit(1)
      const row = yield* rig.untilRow(id, ({ health }) => health.failing !== null)
      assert.deepInclude(row.health.failing, { outcome: "unsigned", status: null })
      const refused = yield* Effect.flip(rig.manager.test(id, undefined))
      assert.strictEqual(refused._tag, "SubscriptionUnreadable")
      assert.lengthOf(subscriber.received, 0)
      yield* stop
      yield* (yield* Rig.make({ storage })).dispatch
      yield* subscriber.until(() => subscriber.taken().length === 1)
    }))
})

describe("many subscriptions", () => {
  it.live("stop concurrently, however long their endpoints take", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const silent = yield* Subscriber.start(() => {})
      for (let count = 0; count < 40; count++) yield* rig.subscribe(silent.url)
      const { stop } = yield* rig.dispatch
      yield* rig.emit(1)
      yield* silent.until(() => silent.received.length === 40)
      // One after the other would take a second each.
      assert.isTrue(Option.isSome(yield* Effect.timeoutOption(stop, "10 seconds")))
    }))

  it.live("share one reader of the log, also if there are 200", () =>
    Effect.gen(function*() {
      /** Reads of the store, and of readers that read the log themselves. */
      let [reads, asked] = [0, 0]
      const counted = Layer.effect(
        LogStore,
        Effect.map(LogStore, (store) =>
          LogStore.of({ ...store, read: (options) => Effect.suspend(() => (reads++, store.read(options))) }))
      ).pipe(Layer.provide(MemoryLogStore.layer))
      const log = Layer.effect(
        EventLog,
        Effect.map(EventLog, (log) =>
          EventLog.of({
            ...log,
            read: (options) =>
              Effect.suspend(() => (asked++, log.read(options)))
          }))
      ).pipe(Layer.provide(GroupCommit.layer), Layer.provide(counted))
      const storage = Layer.mergeAll(
        log,
        MemorySubscriptionRepository.layer
      ).pipe(Layer.provide(MemoryDatabase.layer))
      const rig = yield* Rig.make({ storage })
      const subscriber = yield* Subscriber.start()
      for (let count = 0; count < 200; count++) {
        yield* rig.subscribe(subscriber.url)
      }
      yield* rig.dispatch
      // Those that start late read the earlier events themselves.
      yield* rig.emit(1)
      yield* subscriber.until(() => subscriber.received.length >= 200)
      ;[reads, asked] = [0, 0]
      const emitted = yield* rig.emit(20, Array.from({ length: 5 }, freshDevice))
      yield* subscriber.until(() => subscriber.received.length >= 200 * (emitted.length + 1))
      assert.lengthOf(subscriber.received, 200 * (emitted.length + 1))
      assert.strictEqual(asked, 0)
      assert.isAtMost(reads, 3)
    }))

  it.live("begin anew if their cursor is beyond the log, because a claim was of a log that was replaced right after it", () =>
    Effect.gen(function*() {
      let claims = 0
      const log = Layer.effect(
        EventLog,
        Effect.map(EventLog, (log) =>
          EventLog.of({
            ...log,
            resumeCursor: (sink) =>
              Effect.map(log.resumeCursor(sink), (claim) =>
                claim !== null && claims++ === 0 ? { ...claim, seq: claim.seq + 1000 } : claim)
          }))
      ).pipe(Layer.provide(GroupCommit.layer), Layer.provide(MemoryLogStore.layer))
      const storage = Layer.mergeAll(log, MemorySubscriptionRepository.layer).pipe(Layer.provide(MemoryDatabase.layer))
      const rig = yield* Rig.make({ storage })
      const subscriber = yield* Subscriber.start()
      yield* rig.subscribe(subscriber.url)
      yield* rig.dispatch
      yield* rig.emit(3)
      yield* subscriber.until(() => subscriber.received.length === 3)
      assert.strictEqual(claims, 2)
    }))

  it.live("are delivered by one process at a time: the older claim changes nothing and stays on standby", () =>
    Effect.gen(function*() {
      const storage = Layer.succeedContext(yield* Layer.build(MemoryStorage.layerMemory))
      const subscriber = yield* Subscriber.start()
      const stoodBy = yield* Deferred.make<void>()
      const listening = Logger.layer([
        Logger.make(({ message }) => {
          if (JSON.stringify(message).includes("stands by")) Deferred.doneUnsafe(stoodBy, Effect.void)
        })
      ])
      const older = yield* Rig.make({ storage })
      const { id } = yield* older.subscribe(subscriber.url)
      yield* Effect.provide(older.dispatch, listening)
      yield* older.emit(10)
      yield* older.untilRow(id, ({ behind }) => behind === 0)
      const newer = yield* Rig.make({ storage })
      yield* newer.dispatch
      yield* newer.emit(10)
      yield* newer.untilRow(id, ({ behind }) => behind === 0)
      yield* Deferred.await(stoodBy)
      const before = subscriber.received.length
      assert.strictEqual(subscriber.taken().length, 20)
      yield* newer.emit(10)
      yield* newer.untilRow(id, ({ behind }) => behind === 0)
      assert.strictEqual(subscriber.received.length, before + 10)
    }))
})
