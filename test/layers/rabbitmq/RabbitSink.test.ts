/** The sink with a broker whose answers the test gives. */
import { assert, describe, it } from "@effect/vitest"
import type { ChannelModel } from "amqplib"
import { Effect, Fiber, Stream } from "effect"
import { TestClock } from "effect/testing"
import { EventEmitter } from "node:events"
import { RabbitMq } from "../../../src/layers/rabbitmq/RabbitMq.ts"
import { TopologyGuard } from "../../../src/layers/rabbitmq/TopologyGuard.ts"
import * as RabbitSink from "../../../src/layers/rabbitmq/RabbitSink.ts"

/** A broker on which a confirm channel opens when the test says so. */
const slowBroker = () => {
  const opening = Promise.withResolvers<unknown>()
  const asked = Promise.withResolvers<void>()
  let closed = 0
  const connection = {
    createConfirmChannel: () => {
      asked.resolve()
      return opening.promise
    }
  } as unknown as ChannelModel
  const confirmChannel = Object.assign(new EventEmitter(), {
    ch: 1,
    connection: { frameMax: 131_072, channels: [] },
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

const intact = TopologyGuard.of({
  ensure: () => Effect.void,
  last: Effect.succeed({ missing: [], problem: null, queues: [] })
})

describe("a channel to RabbitMQ", () => {
  it.effect("is closed if it opens after the wait for it has ended", () =>
    Effect.gen(function*() {
      const broker = slowBroker()
      const sink = yield* RabbitSink.make.pipe(
        Effect.provideService(RabbitMq, broker.rabbit),
        Effect.provideService(TopologyGuard, intact)
      )
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
