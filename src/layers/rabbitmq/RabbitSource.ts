/**
 * Incoming messages from the guaranteed queue, for the consumer. Each is acknowledged after its handlers have
 * committed. A failed message is held back for its delay and then returned, so that the broker delivers it
 * again; an abandoned one is rejected, and the broker moves it to the dead letters.
 *
 * The broker counts deliveries too, also those that ended with the process: a message that kills every process that
 * reads it becomes a dead letter without ever having failed. Failed messages are returned by `reject`, which every version
 * counts as a failure; RabbitMQ 4.3 treats `nack` as a consumer that has not tried.
 */
import type { Channel, ChannelModel, ConsumeMessage } from "amqplib"
import { Deferred, Duration, Effect, FiberSet, Option, Queue, Schedule, Schema } from "effect"
import type { Scope } from "effect"
import { Event } from "../../domain/Event.ts"
import { ConsumerSettings } from "../../services/ConsumerSettings.ts"
import type { MessageReceived } from "../../services/MessageHandler.ts"
import type { MessageSource } from "../../services/MessageSource.ts"
import { closeQuietly } from "./channels.ts"
import { BrokerUnavailable, RabbitMq } from "./RabbitMq.ts"
import { incomingQueue } from "./Topology.ts"
import { TopologyGuard } from "./TopologyGuard.ts"

/** Messages delivered and not acknowledged: all that this process holds, those that wait for another attempt included. */
const prefetch = 64

/** A connection reopens by itself; the next check follows soon. */
const connectionTimeout = Duration.seconds(30)

const reopen = Schedule.min([Schedule.exponential("200 millis", 2), Schedule.spaced("5 seconds")]).pipe(
  Schedule.jittered
)

export const make = Effect.gen(function*() {
  const rabbit = yield* RabbitMq
  const guard = yield* TopologyGuard
  const settings = yield* ConsumerSettings
  let state = "connecting"

  const start: MessageSource["start"] = Effect.fnUntraced(function*(take) {
    const settle = Effect.fnUntraced(function*(channel: Channel, message: ConsumeMessage) {
      const event = readMessage(message.content)
      if (event === null) {
        yield* Effect.logWarning(`A message in '${incomingQueue}' cannot be read; it becomes a dead letter`)
        return channel.reject(message, false)
      }
      const settled = Effect.flatMap(take(event), (handled) => {
        if (handled._tag === "Done") return Effect.succeed("ack" as const)
        return handled.verdict._tag === "Dead"
          ? Effect.succeed("dead" as const)
          : Effect.as(Effect.sleep(handled.verdict.after), "again" as const)
      })
      const next = yield* Effect.timeoutOrElse(settled, {
        duration: settings.holdMax,
        orElse: () => Effect.succeed("again" as const)
      })
      if (next === "ack") channel.ack(message)
      else channel.reject(message, next === "again")
    })

    /** One channel from its opening to its end; its messages are then delivered again. */
    const session = Effect.gen(function*() {
      const connection = yield* rabbit.usable(connectionTimeout)
      yield* guard.ensure(connection)
      const { channel, ended } = yield* openChannel(connection)
      const messages = yield* Queue.unbounded<ConsumeMessage>()
      const fibers = yield* FiberSet.make()
      yield* onChannel(async () => {
        await channel.prefetch(prefetch)
        await channel.consume(incomingQueue, (message) => {
          // Null: the queue was deleted. The next session declares it again.
          if (message === null) Deferred.doneUnsafe(ended, Effect.succeed("the queue was deleted"))
          else Queue.offerUnsafe(messages, message)
        })
      })
      state = "running"
      // In the order of arrival: a fiber starts before the next message is taken.
      const work = Effect.forever(
        Effect.flatMap(
          Queue.take(messages),
          (message) =>
            FiberSet.run(fibers, Effect.catchDefect(settle(channel, message), Effect.logDebug), {
              startImmediately: true
            })
        )
      )
      state = yield* Effect.raceFirst(Deferred.await(ended), work)
      yield* Effect.logWarning("The consumer's channel has ended; its messages come again", { reason: state })
    })

    yield* Effect.scoped(session).pipe(
      Effect.tapError((error) =>
        Effect.sync(() => {
          state = error.message
        })
      ),
      Effect.retry(reopen),
      Effect.orDie,
      Effect.andThen(Effect.sleep("200 millis")),
      Effect.forever,
      Effect.forkScoped
    )
  })

  const source: MessageSource = {
    description: `the queue '${incomingQueue}' is consumed`,
    redelivers: true,
    start,
    state: Effect.sync(() => state)
  }
  return source
})

const onChannel = <A>(ask: () => Promise<A>): Effect.Effect<A, BrokerUnavailable> =>
  Effect.tryPromise({
    try: ask,
    catch: (error) => BrokerUnavailable.of("Disconnected", error instanceof Error ? error.message : "unknown")
  }).pipe(Effect.timeoutOrElse({
    duration: connectionTimeout,
    orElse: () => Effect.fail(BrokerUnavailable.of("Disconnected", "no answer on a channel"))
  }))

const openChannel = (
  connection: ChannelModel
): Effect.Effect<
  { readonly channel: Channel; readonly ended: Deferred.Deferred<string> },
  BrokerUnavailable,
  Scope.Scope
> =>
  Effect.acquireRelease(
    Effect.map(onChannel(() => connection.createChannel()), (channel) => {
      const ended = Deferred.makeUnsafe<string>()
      channel.on("error", (error) => Deferred.doneUnsafe(ended, Effect.succeed(error.message)))
      channel.on("close", () => Deferred.doneUnsafe(ended, Effect.succeed("the channel was closed")))
      return { channel, ended }
    }),
    // Not awaited: a dead broker never answers.
    ({ channel }) => Effect.sync(() => void closeQuietly(channel))
  )

/** Null where it is not an event of an incoming message. */
const readMessage = (content: Buffer): MessageReceived | null => {
  const event = Option.getOrNull(decode(content.toString()))
  return event?.kind === "message.received" ? event : null
}

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(Event))
