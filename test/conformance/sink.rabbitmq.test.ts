/** The RabbitMQ sink keeps the contract of a sink, on a real broker behind a proxy that can hold back its answers. */
import { connect } from "amqplib"
import { Effect, Layer, Redacted } from "effect"
import * as RabbitMq from "../../src/layers/rabbitmq/RabbitMq.ts"
import * as RabbitSink from "../../src/layers/rabbitmq/RabbitSink.ts"
import { eventsExchange, incomingQueue } from "../../src/layers/rabbitmq/Topology.ts"
import * as TopologyGuard from "../../src/layers/rabbitmq/TopologyGuard.ts"
import { Condition } from "../../src/services/Condition.ts"
import { freshVhost } from "../support/broker.ts"
import * as FaultProxy from "../support/FaultProxy.ts"
import type { Received, SinkHarness } from "./sink.ts"
import { sinkConformance } from "./sink.ts"

/** Reads the queue without the proxy, in queue order. */
const consume = Effect.fnUntraced(function*(url: string, queue: string) {
  const received: Array<Received> = []
  const condition = new Condition()
  yield* Effect.acquireRelease(
    Effect.promise(async () => {
      const connection = await connect(url)
      connection.on("error", () => {})
      const channel = await connection.createChannel()
      await channel.consume(queue, (message) => {
        if (message === null) return
        received.push({
          id: message.properties.messageId as string,
          seq: Number(message.properties.headers?.["seq"]),
          deviceId: message.properties.headers?.["device"] as string,
          wire: message.content.toString()
        })
        condition.changed()
      }, { noAck: true })
      return connection
    }),
    (connection) => Effect.promise(() => connection.close().catch(() => {}))
  )
  return { received: () => received, waitUntil: (ready: () => boolean) => condition.waitUntil(ready) }
})

/** `bind` creates the queue to read, if it is not the guaranteed one. */
const harness = (queue: string) =>
  Effect.gen(function*() {
    const direct = new URL(yield* freshVhost)
    const proxy = yield* FaultProxy.make({ host: direct.hostname, port: Number(direct.port) })
    const proxied = new URL(direct.href)
    proxied.port = String(proxy.port)
    const context = yield* Layer.build(
      TopologyGuard.layer.pipe(Layer.provideMerge(RabbitMq.layer({ url: Redacted.make(proxied.href) })))
    )
    const { ensure } = yield* Effect.provideContext(TopologyGuard.TopologyGuard, context)
    const connection = yield* Effect.flatMap(RabbitMq.RabbitMq, ({ usable }) => usable("20 seconds")).pipe(
      Effect.provideContext(context)
    )
    yield* ensure(connection)
    if (queue !== incomingQueue) {
      yield* Effect.promise(async () => {
        const channel = await connection.createChannel()
        await channel.assertQueue(queue, { durable: true })
        await channel.bindQueue(queue, eventsExchange, "#")
        await channel.close()
      })
    }
    const { received, waitUntil } = yield* consume(direct.href, queue)
    let removeHold = () => {}
    const result: SinkHarness = {
      sink: yield* Effect.provideContext(RabbitSink.make, context),
      received,
      waitUntil,
      hold: Effect.sync(() => {
        removeHold = proxy.add("downstream", { type: "timeout", millis: 0 })
      }),
      cut: (after) =>
        Effect.gen(function*() {
          yield* proxy.disable
          removeHold()
          if (after === "back") yield* proxy.enable
        })
    }
    return result
  }).pipe(Effect.orDie)

sinkConformance("for RabbitMQ, seen from the guaranteed queue", harness(incomingQueue))
sinkConformance("for RabbitMQ, seen from a queue that is bound to the topic exchange", harness("somebody.else"))
