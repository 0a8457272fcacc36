/** What the guard notices while nothing is published, and what it reports. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Metric, Redacted } from "effect"
import { TestClock } from "effect/testing"
import * as RabbitMq from "../../../src/layers/rabbitmq/RabbitMq.ts"
import { deadExchange, deadQueue, eventsExchange, incomingQueue } from "../../../src/layers/rabbitmq/Topology.ts"
import * as TopologyGuard from "../../../src/layers/rabbitmq/TopologyGuard.ts"
import { BrokerStatus, describeBroker } from "../../../src/services/BrokerStatus.ts"
import { brokerObjectsMissing, brokerQueueMessages } from "../../../src/services/Metrics.ts"
import { freshVhost } from "../../support/broker.ts"
import { openChannel } from "./delivery.ts"

const layer = (url: string) => TopologyGuard.layer.pipe(Layer.provideMerge(RabbitMq.layer({ url: Redacted.make(url) })))

const ensured = Effect.gen(function*() {
  const rabbit = yield* RabbitMq.RabbitMq
  const guard = yield* TopologyGuard.TopologyGuard
  yield* guard.ensure(yield* rabbit.usable("10 seconds"))
  return guard
})

const readMissing = (object: string) =>
  Effect.map(Metric.value(Metric.withAttributes(brokerObjectsMissing, { object })), ({ count }) => Number(count))

describe("the guard of exchanges and queues", () => {
  it.live("declares again what was deleted, names it and counts it", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.gen(function*() {
        const { last } = yield* ensured
        assert.deepStrictEqual((yield* last).missing, [])
        const before = yield* readMissing(incomingQueue)
        yield* Effect.promise(async () => {
          await channel.deleteQueue(incomingQueue)
          await channel.deleteExchange(eventsExchange)
        })
        yield* ensured
        assert.deepStrictEqual((yield* last).missing, [eventsExchange, incomingQueue])
        assert.strictEqual((yield* readMissing(incomingQueue)) - before, 1)
        const status = yield* BrokerStatus
        assert.include(
          describeBroker(yield* status.current, yield* status.topology),
          `missing at the last check: ${eventsExchange}, ${incomingQueue} (declared again)`
        )
        yield* Effect.promise(() => channel.checkQueue(incomingQueue))
        yield* ensured
        assert.deepStrictEqual((yield* last).missing, [])
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("binds the queue of dead letters again", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.gen(function*() {
        yield* ensured
        yield* Effect.promise(() => channel.unbindQueue(deadQueue, deadExchange, ""))
        yield* ensured
        channel.publish(deadExchange, "", Buffer.from("dead"))
        const { messageCount } = yield* Effect.promise(async () => {
          await channel.checkExchange(deadExchange)
          return channel.purgeQueue(deadQueue)
        })
        assert.strictEqual(messageCount, 1)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("shows how many messages wait in a queue", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.gen(function*() {
        const { last } = yield* ensured
        channel.sendToQueue(deadQueue, Buffer.from("dead"))
        yield* Effect.promise(() => channel.checkQueue(incomingQueue))
        yield* ensured
        const dead = (yield* last).queues.find(({ queue }) => queue === deadQueue)
        assert.deepStrictEqual(dead, { queue: deadQueue, messages: 1, consumers: 0 })
        const gauge = yield* Metric.value(Metric.withAttributes(brokerQueueMessages, { queue: deadQueue }))
        assert.strictEqual(gauge.value, 1)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.effect("notices a deletion while nothing is published", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.gen(function*() {
        const { last } = yield* ensured
        yield* Effect.promise(() => channel.deleteQueue(incomingQueue))
        yield* TestClock.adjust("31 seconds")
        while (!(yield* last).missing.includes(incomingQueue)) {
          yield* Effect.promise(() => channel.checkExchange(eventsExchange))
        }
        yield* ensured
        yield* Effect.promise(() => channel.checkQueue(incomingQueue))
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("keeps reporting what it cannot declare until that has changed", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.promise(() => channel.assertExchange(eventsExchange, "direct", { durable: true }))
      yield* Effect.gen(function*() {
        const guard = yield* TopologyGuard.TopologyGuard
        const error = yield* Effect.flip(ensured)
        assert.strictEqual(error._tag, "TopologyMismatch")
        const { problem } = yield* guard.last
        assert.include(problem, `'${eventsExchange}' exists at the broker with other settings`)
        yield* Effect.promise(() => channel.deleteExchange(eventsExchange))
        yield* ensured
        assert.isNull((yield* guard.last).problem)
      }).pipe(Effect.provide(layer(url)))
    }))
})
