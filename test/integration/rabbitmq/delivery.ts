/** A log in memory, relayed to a real broker, and the messages from the broker's queue. */
import { connect } from "amqplib"
import type { ConfirmChannel, ConsumeMessage } from "amqplib"
import { Duration, Effect, Layer, Redacted } from "effect"
import type { Scope } from "effect"
import * as SinkRelay from "../../../src/actors/delivery/SinkRelay.ts"
import type { EventDraft } from "../../../src/domain/Event.ts"
import { DeviceId, EventId, MessageId } from "../../../src/domain/Ids.ts"
import * as RabbitMq from "../../../src/layers/rabbitmq/RabbitMq.ts"
import * as RabbitSink from "../../../src/layers/rabbitmq/RabbitSink.ts"
import * as TopologyGuard from "../../../src/layers/rabbitmq/TopologyGuard.ts"
import { incomingQueue } from "../../../src/layers/rabbitmq/Topology.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import type { EventSink } from "../../../src/services/EventSink.ts"
import { layerMemory } from "../../../src/layers/memory/MemoryStorage.ts"
import { SinkRelays } from "../../../src/services/SinkRelays.ts"
import { check } from "../../support/Checker.ts"
import type { Verdict } from "../../support/Checker.ts"
import { toCommitted } from "../../support/Ledger.ts"
import type { Committed, Delivered } from "../../support/Ledger.ts"
import { until } from "../../support/until.ts"

/** `through` lets a test put something between the relay and the real sink. */
export const layer = (url: string, through: (sink: EventSink) => EventSink = (sink) => sink) =>
  SinkRelay.layer(Effect.map(RabbitSink.make, (sink) => [through(sink)])).pipe(
    Layer.provideMerge(TopologyGuard.layer),
    Layer.provideMerge(Layer.merge(RabbitMq.layer({ url: Redacted.make(url) }), layerMemory))
  )

let made = 0

/** Events of 20 devices in turn. */
export const drafts = (
  count: number,
  kind: "message.received" | `gateway.${string}` = "message.received",
  body = "hello ".repeat(50)
): ReadonlyArray<EventDraft> =>
  Array.from({ length: count }, () => {
    const number = ++made
    const data = {
      messageId: MessageId.make(`msg_${String(number).padStart(26, "0")}`),
      waId: `WA${number}`,
      chat: "628111@s.whatsapp.net",
      sender: "628111@s.whatsapp.net",
      fromMe: false,
      type: "text",
      body
    }
    return {
      id: EventId.make(`0199b2c4-0000-7000-8000-${String(number).padStart(12, "0")}`),
      kind,
      deviceId: DeviceId.make(`dev_${String(number % 20).padStart(26, "0")}`),
      occurredAt: "2026-01-01T00:00:00.000Z",
      via: "columba" as const,
      data,
      identity: null,
      aliases: []
    }
  })

/** Commits them in groups, as a busy fleet would, so that faults fall between and into batches. */
export const appendAll = Effect.fnUntraced(function*(all: ReadonlyArray<EventDraft>, pause: Duration.Input = 0) {
  const log = yield* EventLog
  for (let start = 0; start < all.length; start += 100) {
    yield* log.append(all.slice(start, start + 100))
    yield* Effect.sleep(pause)
  }
})

export const theView = Effect.flatMap(SinkRelays, ({ views }) => Effect.map(views, ([view]) => view!))

/** Waits until the durable cursor is at the end of the log. */
export const caughtUp = Effect.gen(function*() {
  const log = yield* EventLog
  const { head } = yield* log.bounds
  yield* until(
    "the durable cursor stands at the end of the log",
    Effect.map(log.cursors, (cursors) => cursors.some(({ seq }) => seq === head))
  )
})

export const openChannel = (url: string): Effect.Effect<ConfirmChannel, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(async () => {
      const connection = await connect(url)
      connection.on("error", () => {})
      const channel = await connection.createConfirmChannel()
      channel.on("error", () => {})
      return { channel, connection }
    }),
    ({ connection }) => Effect.promise(() => connection.close().catch(() => {}))
  ).pipe(Effect.map(({ channel }) => channel))

/** Empties the queue, in its order: rounds of as many messages as it reports, until it has none. */
export const drain = (url: string, queue: string = incomingQueue): Effect.Effect<ReadonlyArray<ConsumeMessage>> =>
  Effect.scoped(Effect.flatMap(openChannel(url), (channel) =>
    Effect.promise(async () => {
      const messages: Array<ConsumeMessage> = []
      for (;;) {
        const { messageCount } = await channel.checkQueue(queue)
        if (messageCount === 0) return messages
        const wanted = messages.length + messageCount
        const { promise, resolve } = Promise.withResolvers<void>()
        const { consumerTag } = await channel.consume(queue, (message) => {
          if (message === null) return
          messages.push(message)
          if (messages.length === wanted) resolve()
        }, { noAck: true })
        await promise
        await channel.cancel(consumerTag)
      }
    })))

export const toDelivered = (message: ConsumeMessage): Delivered => ({
  messageId: message.properties.messageId as string,
  seq: Number(message.properties.headers?.["seq"]),
  kind: message.properties.type as string,
  deviceId: message.properties.headers?.["device"] as string,
  redelivered: message.fields.redelivered
})

/** Compares the whole log with all messages that have reached the queue. */
export const verdict = Effect.fnUntraced(function*(messages: ReadonlyArray<ConsumeMessage>): Effect.fn.Return<
  Verdict,
  never,
  EventLog
> {
  const log = yield* EventLog
  const committed: Array<Committed> = []
  for (;;) {
    const page = yield* Effect.orDie(log.read({ after: committed.length, limit: 1000 }))
    if (page.events.length === 0) break
    for (const event of page.events) committed.push(toCommitted({ ...event, device_id: event.deviceId }))
  }
  const delivered = messages.map(toDelivered)
  return check({ emitted: [], committed, delivered, streamed: null, witnessed: [], upstreamOf: new Map() })
})
