/**
 * The exchanges and queues that must exist at the broker before anything is published.
 *
 * Two routes lead to them. Every event goes to the topic exchange, where other applications bind queues of their own. An event
 * of a guaranteed kind also goes to its guaranteed queue, through the default exchange: that route exists exactly as long as
 * the queue does, it cannot be unbound, and no other queue can answer in its place. A returned message therefore
 * means that the guaranteed queue does not exist. The guaranteed queue is not bound to the topic exchange, because it
 * would get those events twice.
 *
 * Declaring is idempotent and cheap. It happens before every attempt to publish and again at intervals, which also
 * restores what was deleted by hand.
 *
 * Dead-lettering is at-least-once: the source queue keeps a dead letter until the target has confirmed it, which
 * RabbitMQ allows only with `reject-publish`. The queue has no length limit of its own, so nothing is rejected by that;
 * docs/operating.md describes how an operator sets a limit, and its consequences.
 */
import type { Channel, ChannelModel, Options } from "amqplib"
import { Duration, Effect, Schema } from "effect"
import type { QueueDepth } from "../../services/BrokerStatus.ts"
import { BrokerUnavailable } from "./RabbitMq.ts"
import { withChannel } from "./channels.ts"

export const eventsExchange = "columba.events"
export const incomingQueue = "columba.messages.incoming"
export const deadExchange = "columba.dead"
export const deadQueue = "columba.messages.dead"

/** The kinds that have a guaranteed queue, and its name. All others may have no queue at all. */
export const guaranteedQueues: ReadonlyMap<string, string> = new Map([["message.received", incomingQueue]])

/**
 * Deliveries of one message before it becomes a dead letter. Explicit, because brokers before 4.0 have no limit and
 * later ones 20. Ten leaves room for a consumer that restarts a few times.
 */
const deliveryLimit = 10

/** Ten small requests. A broker that needs longer than this is unhealthy. */
const topologyTimeout = Duration.seconds(10)

const incomingOptions: Options.AssertQueue = {
  durable: true,
  arguments: {
    "x-queue-type": "quorum",
    "x-delivery-limit": deliveryLimit,
    "x-dead-letter-exchange": deadExchange,
    "x-dead-letter-strategy": "at-least-once",
    "x-overflow": "reject-publish"
  }
}

/**
 * RabbitMQ 4 drops a message of a quorum queue without a dead-letter exchange after 20 deliveries. A dead letter must not
 * vanish because it was inspected, so its limit is out of reach; `-1`, for none, is refused by brokers before 4.0.
 */
const deadDeliveryLimit = 1_000_000

const deadOptions: Options.AssertQueue = {
  durable: true,
  arguments: { "x-queue-type": "quorum", "x-delivery-limit": deadDeliveryLimit }
}

/** An exchange or queue of that name exists with other settings. An operator has to decide what to do with it. */
export class TopologyMismatch extends Schema.TaggedError<TopologyMismatch>()("TopologyMismatch", {
  message: Schema.String,
  subject: Schema.String
}) {
  static of(subject: string, detail: string): TopologyMismatch {
    return new TopologyMismatch({
      subject,
      message: `'${subject}' exists at the broker with other settings. Drain and delete it, or give Columba a virtual `
        + `host of its own; it is declared again at the next attempt. The broker says: ${detail}`
    })
  }
}

/** The broker does not allow us to declare it, for instance because a permission is missing. */
export class TopologyRefused extends Schema.TaggedError<TopologyRefused>()("TopologyRefused", {
  message: Schema.String,
  subject: Schema.String
}) {
  static of(subject: string, detail: string): TopologyRefused {
    return new TopologyRefused({ subject, message: `'${subject}' cannot be declared. The broker says: ${detail}` })
  }
}

export type TopologyError = TopologyMismatch | TopologyRefused | BrokerUnavailable

/** What existed before anything was declared. */
export interface Found {
  readonly missing: ReadonlyArray<string>
  readonly queues: ReadonlyArray<QueueDepth>
}

/** Checks which exchanges and queues exist, without changing anything. */
export const inspect = (connection: ChannelModel): Effect.Effect<Found, TopologyError> =>
  Effect.gen(function*() {
    const missing: Array<string> = []
    const queues: Array<QueueDepth> = []
    for (const { look, subject } of objects) {
      // On a channel each: the broker closes the channel on which something was not found.
      const found = yield* onChannel(connection, subject, look).pipe(
        Effect.catchTag("NotFound", () => Effect.succeed(null))
      )
      if (found === null) missing.push(subject)
      else if (found.depth !== null) queues.push({ queue: subject, ...found.depth })
    }
    return { missing, queues }
  }).pipe(bounded)

/** Creates what does not exist. Fails where something exists with other settings. */
export const declare = (connection: ChannelModel): Effect.Effect<void, TopologyError> =>
  Effect.forEach(objects, ({ make, subject }) => onChannel(connection, subject, make), { discard: true }).pipe(
    Effect.catchTag("NotFound", ({ message, subject }) => Effect.fail(TopologyRefused.of(subject, message))),
    bounded
  )

interface TopologyObject {
  readonly subject: string
  readonly look: (channel: Channel) => Promise<{ readonly depth: Omit<QueueDepth, "queue"> | null }>
  readonly make: (channel: Channel) => Promise<unknown>
}

const exchange = (subject: string, type: "fanout" | "topic"): TopologyObject => ({
  subject,
  look: async (channel) => {
    await channel.checkExchange(subject)
    return { depth: null }
  },
  make: (channel) => channel.assertExchange(subject, type, { durable: true })
})

const queue = (subject: string, options: Options.AssertQueue, boundTo: string | null): TopologyObject => ({
  subject,
  look: async (channel) => {
    const { consumerCount, messageCount } = await channel.checkQueue(subject)
    return { depth: { messages: messageCount, consumers: consumerCount } }
  },
  make: async (channel) => {
    await channel.assertQueue(subject, options)
    if (boundTo !== null) await channel.bindQueue(subject, boundTo, "")
  }
})

/** In this order a queue never receives a message before there is a place for its dead letters. */
const objects: ReadonlyArray<TopologyObject> = [
  exchange(deadExchange, "fanout"),
  queue(deadQueue, deadOptions, deadExchange),
  exchange(eventsExchange, "topic"),
  queue(incomingQueue, incomingOptions, null)
]

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {
  message: Schema.String,
  subject: Schema.String
}) {}

const onChannel = <A>(
  connection: ChannelModel,
  subject: string,
  ask: (channel: Channel) => Promise<A>
): Effect.Effect<A, TopologyError | NotFound> =>
  Effect.tryPromise({ try: () => withChannel(connection, ask), catch: (error) => classify(subject, error) })

const bounded = <A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E | BrokerUnavailable> =>
  Effect.timeoutOrElse(work, {
    duration: topologyTimeout,
    orElse: () => Effect.fail(BrokerUnavailable.of("Disconnected", "no answer about exchanges and queues"))
  })

const notFound = 404
const preconditionFailed = 406

/** A refusal carries the broker's reply code; a lost connection has none. */
const classify = (subject: string, error: unknown): TopologyError | NotFound => {
  const message = error instanceof Error ? error.message : "unknown"
  const code = error instanceof Error && "code" in error ? error.code : undefined
  if (code === notFound) return new NotFound({ subject, message })
  if (code === preconditionFailed) return TopologyMismatch.of(subject, message)
  return typeof code === "number"
    ? TopologyRefused.of(subject, message)
    : BrokerUnavailable.of("Disconnected", message)
}
