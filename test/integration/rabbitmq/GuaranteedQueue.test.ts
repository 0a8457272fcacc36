/**
 * The queue that Columba guarantees gets every incoming message, whatever happens to it at the broker and whichever other
 * queues are bound to the same routing keys. In each test another queue receives every event, so that the broker could
 * confirm an event without the guaranteed queue.
 */
import { assert, describe, it } from "@effect/vitest"
import type { Channel } from "amqplib"
import { Effect } from "effect"
import { eventsExchange, incomingQueue } from "../../../src/layers/rabbitmq/Topology.ts"
import { freshVhost } from "../../support/broker.ts"
import { appendAll, caughtUp, drafts, drain, layer, openChannel, toDelivered } from "./delivery.ts"

const other = "somebody.else"

/** Ten events are delivered, then the fault happens, then 200 more are committed and delivered. */
const afterFault = Effect.fnUntraced(function*(url: string, fault: (channel: Channel) => Promise<unknown>) {
  const channel = yield* openChannel(url)
  yield* Effect.promise(async () => {
    await channel.assertExchange(eventsExchange, "topic", { durable: true })
    await channel.assertQueue(other, { durable: true })
    await channel.bindQueue(other, eventsExchange, "message.#")
  })
  yield* Effect.gen(function*() {
    yield* appendAll(drafts(10))
    yield* caughtUp
    yield* drain(url)
    yield* Effect.promise(() => fault(channel))
    yield* appendAll(drafts(200))
    yield* caughtUp
  }).pipe(Effect.provide(layer(url)))
  return (yield* drain(url)).map(toDelivered)
})

const distinct = (delivered: ReadonlyArray<{ readonly seq: number }>) => new Set(delivered.map(({ seq }) => seq)).size

describe("the guaranteed queue", () => {
  it.live("gets every event after it was deleted, though another queue receives them too", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const delivered = yield* afterFault(url, (channel) => channel.deleteQueue(incomingQueue))
      assert.strictEqual(distinct(delivered), 200)
    }))

  it.live("gets every event after it was unbound, though another queue receives them too", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const delivered = yield* afterFault(
        url,
        (channel) => channel.unbindQueue(incomingQueue, eventsExchange, "message.received.#")
      )
      assert.strictEqual(distinct(delivered), 200)
    }))

  it.live("gets every event after the exchange was deleted", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      const delivered = yield* afterFault(url, (channel) => channel.deleteExchange(eventsExchange))
      assert.strictEqual(distinct(delivered), 200)
    }))

  it.live("gets each event once, and so does each queue that others have bound", () =>
    Effect.gen(function*() {
      const url = yield* freshVhost
      yield* Effect.gen(function*() {
        const channel = yield* openChannel(url)
        const committed = drafts(100)
        const device = committed[0]!.deviceId
        yield* Effect.promise(async () => {
          await channel.assertExchange(eventsExchange, "topic", { durable: true })
          for (
            const [queue, key] of [["all", "#"], ["messages", "message.#"], ["device", `message.received.${device}`]]
          ) {
            await channel.assertQueue(queue!, { durable: true })
            await channel.bindQueue(queue!, eventsExchange, key!)
          }
        })
        yield* appendAll(committed)
        yield* caughtUp
        for (const [queue, count] of [[incomingQueue, 100], ["all", 100], ["messages", 100], ["device", 5]] as const) {
          const messages = yield* drain(url, queue)
          assert.strictEqual(messages.length, count, queue)
          assert.strictEqual(distinct(messages.map(toDelivered)), count, queue)
        }
      }).pipe(Effect.provide(layer(url)))
    }))
})
