/** Messages whose handlers fail, hang and crash, on the virtual clock, and when they are retried. */
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Latch, Layer } from "effect"
import { TestClock } from "effect/testing"
import { ChatOrder } from "../../../src/actors/consuming/ChatOrder.ts"
import { judge, retryDelay } from "../../../src/actors/consuming/attempts.ts"
import * as LogSource from "../../../src/actors/consuming/LogSource.ts"
import * as MessageConsumer from "../../../src/actors/consuming/MessageConsumer.ts"
import type { DeviceId } from "../../../src/domain/Ids.ts"
import { layerMemory } from "../../../src/layers/memory/MemoryStorage.ts"
import { ConsumerSettings } from "../../../src/services/ConsumerSettings.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { HandlerFailed } from "../../../src/services/MessageHandler.ts"
import type { MessageHandler, MessageReceived } from "../../../src/services/MessageHandler.ts"
import { MessageInbox } from "../../../src/services/MessageInbox.ts"
import type { Handled, MessageSource } from "../../../src/services/MessageSource.ts"
import { Readiness } from "../../../src/services/Readiness.ts"
import { messageDraft } from "../../support/surface.ts"

const device = `dev_${"0".repeat(25)}1` as DeviceId

const eventOf = (number: number): MessageReceived => {
  const { aliases: _, identity: __, ...draft } = messageDraft(device, number)
  return { ...draft, seq: number, recordedAt: draft.occurredAt }
}

/** A source into which a test puts messages. */
const handOver = Effect.fnUntraced(function*(handlers: ReadonlyArray<MessageHandler>, redelivers = true) {
  let give: (event: MessageReceived) => Effect.Effect<Handled> = () => Effect.die("not started")
  const source: MessageSource = {
    description: "a test",
    redelivers,
    start: (take) =>
      Effect.sync(() => {
        give = take
      }),
    state: Effect.succeed("running")
  }
  yield* MessageConsumer.make(source, handlers)
  return (event: MessageReceived) => give(event)
})

const services = Layer.mergeAll(layerMemory, Readiness.layer)

const handlerOf = (name: string, handle: MessageHandler["handle"]): MessageHandler => ({ name, handle })

describe("the delays of attempts", () => {
  it.effect("double from a second to a minute, follow a Retry-After within bounds, and end after ten", () =>
    Effect.gen(function*() {
      const settings = yield* ConsumerSettings
      const seconds = (attempts: number, after: Duration.Duration | null = null) =>
        Duration.toSeconds(retryDelay(settings, attempts, after))
      assert.deepStrictEqual([1, 2, 3, 6, 7, 10_000].map((n) => seconds(n)), [1, 2, 4, 32, 60, 60])
      assert.strictEqual(seconds(1, Duration.seconds(30)), 30)
      assert.strictEqual(seconds(9, Duration.seconds(3)), 60)
      assert.strictEqual(seconds(1, Duration.days(3)), 300)
      const decide = judge(settings, HandlerFailed.of("no"))
      assert.deepStrictEqual([1, 9, 10, 11].map((n) => decide(n)._tag), ["Again", "Again", "Dead", "Dead"])
      assert.strictEqual(judge(settings, HandlerFailed.of("no", { permanent: true }))(1)._tag, "Dead")
    }))
})

describe("a message", () => {
  it.effect("is redelivered only to the handlers that have not handled it", () =>
    Effect.gen(function*() {
      const calls: Array<string> = []
      let broken = true
      const give = yield* handOver([
        handlerOf("good", () => Effect.succeed(Effect.sync(() => void calls.push("good")))),
        handlerOf("bad", () =>
          broken ? Effect.fail(HandlerFailed.of("no")) : Effect.succeed(Effect.sync(() => void calls.push("bad"))))
      ])
      const event = eventOf(1)
      assert.deepInclude(yield* give(event), { _tag: "Failed", attempts: 1 })
      broken = false
      assert.deepStrictEqual(yield* give(event), { _tag: "Done" })
      assert.deepStrictEqual(yield* give(event), { _tag: "Done" })
      assert.deepStrictEqual(calls, ["good", "bad"])
    }).pipe(Effect.provide(services)))

  it.effect("counts as failed once when its handler hangs or crashes, and the next one is handled", () =>
    Effect.gen(function*() {
      const give = yield* handOver([
        handlerOf(
          "odd",
          ({ data: { body } }) =>
            body === "message 1" ? Effect.never : body === "message 2" ? Effect.die("bug") : Effect.succeed(Effect.void)
        )
      ])
      const first = eventOf(1)
      const hanging = yield* Effect.forkChild(give(first))
      yield* TestClock.adjust("2 minutes")
      assert.deepInclude(yield* Fiber.join(hanging), { _tag: "Failed", attempts: 1 })
      assert.deepInclude(yield* give(eventOf(2)), { _tag: "Failed", attempts: 1 })
      assert.deepStrictEqual(yield* give(eventOf(3)), { _tag: "Done" })
      const inbox = yield* MessageInbox
      const [failure] = yield* inbox.failures([first.id])
      assert.strictEqual(failure?.message, "no answer within 2m")
    }).pipe(Effect.provide(services)))
})

describe("the messages of a chat", () => {
  it.effect("count as failed if their commit never ends, and the messages after them are handled next", () =>
    Effect.gen(function*() {
      const give = yield* handOver([
        handlerOf("writer", ({ data: { body } }) => Effect.succeed(body === "message 1" ? Effect.never : Effect.void))
      ])
      const chat = (event: MessageReceived): MessageReceived => ({ ...event, data: { ...event.data, chat: "one" } })
      const first = chat(eventOf(1))
      const hanging = yield* Effect.forkChild(give(first))
      const behind = yield* Effect.forkChild(give(chat(eventOf(2))))
      yield* TestClock.adjust("8 seconds")
      assert.deepInclude(yield* Fiber.join(hanging), { _tag: "Failed", attempts: 1 })
      assert.deepStrictEqual(yield* Fiber.join(behind), { _tag: "Done" })
      const inbox = yield* MessageInbox
      const [failure] = yield* inbox.failures([first.id])
      assert.strictEqual(failure?.message, "the commit did not end within 8s")
    }).pipe(Effect.provide(services)))

  it.effect("are handled one after another, also when one of them times out while it waits", () =>
    Effect.gen(function*() {
      const order = new ChatOrder()
      const told: Array<string> = []
      const open = yield* Latch.make()
      const begin = (name: string, work: Effect.Effect<void>) =>
        Effect.forkChild(
          order.run("chat", Effect.andThen(work, Effect.sync(() => void told.push(name)))),
          { startImmediately: true }
        )
      const first = yield* begin("first", open.await)
      const second = yield* begin("second", Effect.void)
      const third = yield* begin("third", Effect.void)
      yield* Fiber.interrupt(second)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(told, [], "the third waits for the first")
      yield* open.open
      yield* Effect.forEach([first, third], Fiber.join)
      assert.deepStrictEqual(told, ["first", "third"])
      yield* begin("fourth", Effect.void)
      assert.deepStrictEqual(told, ["first", "third", "fourth"], "nothing is left behind")
    }))
})

describe("a consumer of the log", () => {
  it.effect("starts with new events, continues after a restart, and is not delayed by a failing message", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const handled: Array<string> = []
      let broken = true
      const handler = handlerOf("reader", ({ data: { body } }) =>
        body === "poison" && broken
          ? Effect.fail(HandlerFailed.of("no"))
          : Effect.succeed(Effect.sync(() => void handled.push(body ?? ""))))
      const run = <A, E, R>(work: Effect.Effect<A, E, R>) =>
        Effect.scoped(
          Effect.andThen(
            Effect.flatMap(LogSource.make, (source) => MessageConsumer.make(source, [handler])),
            Effect.andThen(TestClock.adjust("1 second"), work)
          )
        )
      const append = (number: number, body?: string) => log.append([messageDraft(device, number, body)])
      yield* Effect.forkChild(append(1))
      yield* TestClock.adjust("1 second")
      yield* run(Effect.gen(function*() {
        yield* Effect.forkChild(append(2, "poison"))
        yield* Effect.forkChild(append(3))
        yield* TestClock.adjust("1 second")
        assert.deepStrictEqual(handled, ["message 3"])
      }))
      yield* Effect.forkChild(append(4))
      yield* TestClock.adjust("1 second")
      yield* run(Effect.gen(function*() {
        yield* TestClock.adjust("20 minutes")
        assert.deepStrictEqual(handled, ["message 3", "message 4"])
        const inbox = yield* MessageInbox
        const { items } = yield* inbox.dead(10)
        assert.deepStrictEqual(items.map(({ attempts }) => attempts), [10])
        broken = false
        yield* inbox.revive(null)
        yield* TestClock.adjust("2 seconds")
        assert.deepStrictEqual(handled, ["message 3", "message 4", "poison"])
      }))
    }).pipe(Effect.provide(services)))
})
