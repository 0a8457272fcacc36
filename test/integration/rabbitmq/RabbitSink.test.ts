import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { inject } from "vitest"
import { toWire } from "../../../src/domain/Event.ts"
import { deadQueue, eventsExchange, incomingQueue } from "../../../src/layers/rabbitmq/Topology.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { freshVhost } from "../../support/broker.ts"
import { assertSound } from "../../support/Checker.ts"
import { runCommand } from "../../support/servers/ServerHost.ts"
import { appendAll, caughtUp, openChannel, drafts, drain, layer, theView, verdict } from "./delivery.ts"
import { untilSo } from "../../support/until.ts"

describe("events to RabbitMQ", () => {
  it.live("are delivered once each, in order per device, under their own id", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(3000))
        yield* caughtUp
        const messages = yield* drain(url)
        const result = yield* verdict(messages)
        assertSound(result)
        assert.strictEqual(result.counts.delivered, 3000)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("carry the event's properties and its wire form", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        const log = yield* EventLog
        const channel = yield* openChannel(url)
        yield* Effect.promise(async () => {
          await channel.assertExchange(eventsExchange, "topic", { durable: true })
          await channel.assertQueue("mine", { durable: true })
          await channel.bindQueue("mine", eventsExchange, "#")
        })
        yield* log.append(drafts(1))
        yield* caughtUp
        const [event] = (yield* log.read({ after: 0, limit: 1 })).events
        const [message] = yield* drain(url)
        const [bound] = yield* drain(url, "mine")
        assert.isDefined(event)
        assert.isDefined(message)
        assert.isDefined(bound)
        assert.strictEqual(message.content.toString(), toWire(event))
        assert.strictEqual(message.fields.exchange, "")
        assert.strictEqual(message.fields.routingKey, incomingQueue)
        assert.deepInclude(bound.fields, {
          exchange: eventsExchange,
          routingKey: `message.received.${event.deviceId}`
        })
        assert.deepStrictEqual(bound.properties, message.properties)
        assert.strictEqual(bound.content.toString(), message.content.toString())
        const { properties } = message
        assert.strictEqual(properties.messageId, event.id)
        assert.strictEqual(properties.type, "message.received")
        assert.strictEqual(properties.contentType, "application/json")
        assert.strictEqual(properties.deliveryMode, 2)
        assert.strictEqual(properties.timestamp, Math.floor(Date.parse(event.recordedAt) / 1000))
        assert.strictEqual(properties.headers?.["seq"], "1")
        assert.strictEqual(properties.headers?.["device"], event.deviceId)
        const trace = event.id.replaceAll("-", "")
        assert.match(String(properties.headers?.["traceparent"]), new RegExp(`^00-${trace}-[0-9a-f]{16}-00$`))
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("count as delivered without any subscriber", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(10, "gateway.presence"))
        yield* caughtUp
        assert.isNull((yield* theView).failure)
        assert.strictEqual((yield* drain(url)).length, 0)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("are not delayed by an event whose kind is longer than a routing key may be", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(1, `gateway.${"long-".repeat(100)}`))
        yield* appendAll(drafts(1))
        yield* caughtUp
        assert.strictEqual((yield* drain(url)).length, 1)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("are delivered unchanged in any size and any script", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        const log = yield* EventLog
        const channel = yield* openChannel(url)
        yield* Effect.promise(async () => {
          await channel.assertExchange(eventsExchange, "topic", { durable: true })
          await channel.assertQueue("mine", { durable: true })
          await channel.bindQueue("mine", eventsExchange, "#")
        })
        const bodies = ["", "halo 👋 سلام", "é".repeat(200_000), "x".repeat(131_072 * 3), "last"]
        for (const body of bodies) yield* log.append(drafts(1, "message.received", body))
        yield* log.append(drafts(1, "gateway.nächste"))
        yield* caughtUp
        const { events } = yield* log.read({ after: 0, limit: 10 })
        const bound = yield* drain(url, "mine")
        assert.deepStrictEqual(bound.map(({ content }) => content.toString()), events.map(toWire))
        assert.deepStrictEqual(bound.map(({ properties }) => properties.type as string), events.map(({ kind }) => kind))
        const guaranteed = yield* drain(url)
        assert.deepStrictEqual(guaranteed.map(({ content }) => content.toString()), events.slice(0, 5).map(toWire))
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("continue after their connections were closed under load, and none is lost", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const control = inject("rabbitControl")
      const vhost = new URL(url).pathname.slice(1)
      yield* Effect.gen(function*() {
        const load = yield* Effect.forkChild(appendAll(drafts(4000), "80 millis"))
        for (const share of [800, 2000, 3200]) {
          yield* untilSo("its share is confirmed", theView, ({ confirmed }) => confirmed >= share)
          const line = [...control.line, "close_all_connections", "--vhost", vhost, "as a test"]
          yield* runCommand({ ...control, line })
        }
        yield* Fiber.join(load)
        yield* caughtUp
        const result = yield* verdict(yield* drain(url))
        assertSound(result)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("are delivered after their deleted queue is declared again, also if another queue has received them", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(10))
        yield* caughtUp
        const channel = yield* openChannel(url)
        yield* Effect.promise(() => channel.assertQueue("others"))
        yield* Effect.promise(() => channel.bindQueue("others", eventsExchange, "#"))
        yield* Effect.promise(() => channel.deleteQueue(incomingQueue))
        yield* appendAll(drafts(200))
        yield* caughtUp
        const messages = yield* drain(url)
        assert.strictEqual(new Set(messages.map(({ properties }) => properties.messageId as string)).size, 200)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("wait for a queue with other settings, which is named, and continue once that is fixed", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.promise(() => channel.assertQueue(incomingQueue, { durable: true }))
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(5))
        const { confirmed, failure } = yield* untilSo("the relay has failed", theView, (view) => view.failure !== null)
        assert.strictEqual(confirmed, 0)
        assert.strictEqual(failure?.reason, "rejected")
        assert.include(failure?.message, `'${incomingQueue}' exists at the broker with other settings`)
        assert.include(failure?.message, "inequivalent arg")
        yield* Effect.promise(() => channel.deleteQueue(incomingQueue))
        yield* caughtUp
        assert.strictEqual((yield* drain(url)).length, 5)
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("wait for another's queue that is full and refuses, and continue once it has room", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const channel = yield* openChannel(url)
      yield* Effect.promise(async () => {
        await channel.assertExchange(eventsExchange, "topic", { durable: true })
        await channel.assertQueue("full", {
          durable: true,
          maxLength: 1,
          arguments: { "x-overflow": "reject-publish" }
        })
        await channel.bindQueue("full", eventsExchange, "#")
      })
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(20))
        const { failure } = yield* untilSo("the relay has failed", theView, (view) => view.failure !== null)
        assert.strictEqual(failure?.reason, "rejected")
        yield* Effect.promise(() => channel.deleteQueue("full"))
        yield* caughtUp
        const seqs = (yield* drain(url)).map(({ properties }) => Number(properties.headers?.["seq"]))
        assert.deepStrictEqual([...new Set(seqs)], Array.from({ length: 20 }, (_, index) => index + 1))
      }).pipe(Effect.provide(layer(url)))
    }))

  it.live("are kept in the queue of dead letters when a consumer rejects them", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        yield* appendAll(drafts(1))
        yield* caughtUp
        const channel = yield* openChannel(url)
        const message = yield* Effect.promise(() => channel.get(incomingQueue))
        assert.isObject(message)
        if (message !== false) channel.nack(message, false, false)
        const dead = yield* untilSo(
          "the message is dead",
          Effect.promise(() => channel.checkQueue(deadQueue)),
          ({ messageCount }) => messageCount > 0
        )
        assert.strictEqual(dead.messageCount, 1)
      }).pipe(Effect.provide(layer(url)))
    }))
})
