/** Faults of RabbitMQ's readers: the sample consumer, its queue, and the guaranteed queue. */
import { rmSync, writeFileSync } from "node:fs"
import { connect } from "amqplib"
import type { Channel } from "amqplib"
import { Effect } from "effect"
import type { Scope } from "effect"
import { deadQueue, incomingQueue } from "../../src/layers/rabbitmq/Topology.ts"
import { until } from "../../test/support/until.ts"
import type { Arrangement } from "../Arrangement.ts"
import { consumerQueue } from "../parties/SampleConsumer.ts"
import { dieThere } from "./program.ts"
import { inVhost, wait } from "./shared.ts"
import type { Strike } from "./shared.ts"

export const kill: Strike<"kill consumer"> = ({ consumer }) => consumer?.kill ?? Effect.void

/** The interval of the broker's checks while its patience is short. */
const brokerTickMillis = 500

/** The broker ends the channel of a consumer that acknowledges nothing for longer than its patience. */
export const freeze: Strike<"freeze consumer"> = (on, { millis, patienceMillis }) => {
  const set = (name: string, value: number) =>
    Effect.asVoid(on.servers.broker.ctl("eval", `application:set_env(rabbit, ${name}, ${value}).`))
  const patience = (millis: number, tick: number) =>
    Effect.andThen(set("consumer_timeout", millis), set("channel_tick_interval", tick))
  const { consumer } = on
  if (consumer === null) return Effect.void
  return patience(patienceMillis, brokerTickMillis).pipe(
    // Its channel keeps the interval with which it was opened.
    Effect.andThen(consumer.kill),
    Effect.andThen(wait(3_000)),
    Effect.andThen(consumer.freeze),
    Effect.andThen(wait(millis)),
    Effect.andThen(patience(1_800_000, 60_000)),
    Effect.andThen(consumer.thaw)
  )
}

/** Returns when the consumer has declared it again. Events in between have no queue, and are no loss of the program's. */
export const deleteConsumersQueue: Strike<"delete consumer's queue"> = (on) =>
  Effect.gen(function*() {
    yield* inVhost(on, "delete_queue", consumerQueue)
    yield* until(
      "the consumer has its queue again",
      Effect.map(
        on.servers.broker.ctl("list_consumers", "--vhost", on.vhost, "queue_name"),
        (text) => text.includes(consumerQueue)
      )
    )
    yield* on.forgetConsumed
  })

const openChannel = (on: Arrangement): Effect.Effect<Channel, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.promise(() => connect(on.rabbitUrl)),
    (connection) => Effect.promise(() => connection.close().catch(() => {}))
  ).pipe(Effect.flatMap((connection) => Effect.promise(() => connection.createChannel())))

const countIn = (on: Arrangement, queue: string): Effect.Effect<number> =>
  Effect.map(
    on.servers.broker.ctl("list_queues", "--vhost", on.vhost, "--quiet", "name", "messages"),
    (text) => Number(new RegExp(`^${queue}\\s+(\\d+)`, "m").exec(text)?.[1] ?? -1)
  )

/** The messages go to the consumer's queue of dead letters, and affect no other message. */
export const poison: Strike<"poison queue"> = (on, { messages }) =>
  Effect.gen(function*() {
    const channel = yield* openChannel(on)
    const before = Math.max(0, yield* countIn(on, `${consumerQueue}.dead`))
    for (let index = 0; index < messages; index++) {
      channel.sendToQueue(consumerQueue, Buffer.from("not JSON"), { persistent: true })
    }
    yield* until(
      "the poison is among the dead letters",
      Effect.map(countIn(on, `${consumerQueue}.dead`), (count) => count === before + messages)
    )
  })

/** The broker keeps rejected messages until their target exists again: dead letters are confirmed like other messages. */
export const rejectWithoutDeadLetters: Strike<"reject without dead letters"> = (on, { messages }) =>
  Effect.gen(function*() {
    const channel = yield* openChannel(on)
    yield* until(
      "the guaranteed queue has messages",
      Effect.map(countIn(on, incomingQueue), (count) => count >= messages)
    )
    yield* inVhost(on, "delete_queue", deadQueue)
    for (let index = 0; index < messages; index++) {
      const message = yield* Effect.promise(() => channel.get(incomingQueue))
      if (message === false) return yield* Effect.die(new Error("the guaranteed queue is empty"))
      channel.nack(message, false, false)
    }
    // The program declares missing objects again, and no rejected message is lost: the broker retries by itself,
    // after three minutes unless a shorter time is set.
    yield* until(
      "the rejected messages are among the dead letters",
      Effect.map(countIn(on, deadQueue), (count) => count === messages),
      "240 seconds"
    )
  })

/** The handler refuses messages until enough are dead; a retried one then dies with the program, once, in between. */
export const retryDeadLetters: Strike<"retry dead letters"> = (on, { messages }) =>
  Effect.gen(function*() {
    const dead = Effect.map(
      on.columba.get<{ readonly total: number }>("/api/v1/dead-letters?limit=1"),
      ({ total }) => total
    )
    const retry = Effect.ignoreCause(on.columba.post("/api/v1/dead-letters/retry", {}))
    yield* Effect.acquireUseRelease(
      Effect.sync(() => writeFileSync(on.refusesFile, "")),
      () => until(`${messages} messages are dead letters`, Effect.map(dead, (count) => count >= messages)),
      () => Effect.sync(() => rmSync(on.refusesFile, { force: true }))
    )
    yield* dieThere(on, retry)
    yield* on.ready
    yield* until("no dead letter is left", Effect.andThen(retry, Effect.map(dead, (count) => count === 0)))
  })
