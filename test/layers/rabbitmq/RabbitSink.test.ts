/** What the sink does with a broker whose every answer the test gives. */
import { assert, describe, it } from "@effect/vitest"
import type { ChannelModel } from "amqplib"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EventEmitter } from "node:events"
import { RabbitMq } from "../../../src/layers/rabbitmq/RabbitMq.ts"
import * as RabbitSink from "../../../src/layers/rabbitmq/RabbitSink.ts"

/** Declares whatever is asked; a confirm channel opens when the test says so. */
const slowBroker = () => {
  const opening = Promise.withResolvers<unknown>()
  const asked = Promise.withResolvers<void>()
  let closed = 0
  const done = () => Promise.resolve({})
  const plain = { on: () => {}, assertExchange: done, assertQueue: done, bindQueue: done, close: done }
  const connection = {
    createChannel: () => Promise.resolve(plain),
    createConfirmChannel: () => {
      asked.resolve()
      return opening.promise
    }
  } as unknown as ChannelModel
  const confirmChannel = Object.assign(new EventEmitter(), {
    close: () => {
      closed++
      return Promise.resolve()
    }
  })
  return {
    rabbit: RabbitMq.of({
      state: Effect.succeed({ _tag: "Connected", since: "1970-01-01T00:00:00.000Z" }),
      changes: Stream.empty,
      usable: () => Effect.succeed(connection)
    }),
    asked: Effect.promise(() => asked.promise),
    open: Effect.promise(async () => {
      opening.resolve(confirmChannel)
      await opening.promise
    }),
    closed: () => closed
  }
}

describe("a channel to RabbitMQ", () => {
  it.effect("is closed when it opens after nobody waits for it any more", () =>
    Effect.gen(function*() {
      const broker = slowBroker()
      const sink = yield* RabbitSink.make.pipe(Effect.provideService(RabbitMq, broker.rabbit))
      const publishing = yield* Effect.forkChild(Effect.flip(sink.publish([], 1)))
      yield* broker.asked
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(publishing)).reason, "disconnected")
      assert.strictEqual(broker.closed(), 0)
      yield* broker.open
      yield* Effect.promise(() => new Promise(setImmediate))
      assert.strictEqual(broker.closed(), 1)
    }))
})
