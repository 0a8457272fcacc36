/**
 * What must exist at the broker before anything is published: the exchange everybody binds to, the queue of incoming
 * messages that the built-in consumer reads, and where its dead letters go. Declaring is idempotent and cheap, so it
 * happens each time publishing begins anew; that also mends what somebody deleted by hand.
 *
 * Dead-lettering is at-least-once: the source queue keeps a dead letter until the target has confirmed it, which
 * RabbitMQ allows only with `reject-publish`. The queue has no length limit, so nothing is ever rejected by that.
 */
import type { Channel, ChannelModel, Options } from "amqplib"
import { Duration, Effect, Schema } from "effect"
import { BrokerUnavailable } from "./RabbitMq.ts"

export const eventsExchange = "columba.events"
export const incomingQueue = "columba.messages.incoming"
export const deadExchange = "columba.dead"
export const deadQueue = "columba.messages.dead"

/** The kinds for which a queue is guaranteed. All others may rightly have no subscriber. */
export const routedKinds: ReadonlySet<string> = new Set(["message.received"])

/**
 * Deliveries of one message before it is a dead letter. Explicit, because brokers before 4.0 default to unlimited and
 * later ones to 20; ten leaves room for a consumer that restarts a few times.
 */
const deliveryLimit = 10

/** Eight small requests; a broker that needs longer is not well. */
const declareTimeout = Duration.seconds(10)

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

const deadOptions: Options.AssertQueue = { durable: true, arguments: { "x-queue-type": "quorum" } }

/** Something of that name exists and is not what we need. Ours to refuse, an operator's to mend. */
export class TopologyMismatch extends Schema.TaggedError<TopologyMismatch>()("TopologyMismatch", {
  message: Schema.String,
  subject: Schema.String
}) {
  static of(subject: string, detail: string): TopologyMismatch {
    return new TopologyMismatch({
      subject,
      message: `'${subject}' exists at the broker with other settings. Drain and delete it, or give Columba a vhost of `
        + `its own; it is declared again at the next attempt. The broker says: ${detail}`
    })
  }
}

/** The broker will not let us declare it, for instance for want of permissions. */
export class TopologyRefused extends Schema.TaggedError<TopologyRefused>()("TopologyRefused", {
  message: Schema.String,
  subject: Schema.String
}) {
  static of(subject: string, detail: string): TopologyRefused {
    return new TopologyRefused({ subject, message: `'${subject}' can not be declared. The broker says: ${detail}` })
  }
}

export type TopologyError = TopologyMismatch | TopologyRefused | BrokerUnavailable

/** On a channel of its own, because a refusal closes the channel. */
export const declare = (connection: ChannelModel): Effect.Effect<void, TopologyError> =>
  Effect.acquireUseRelease(
    Effect.tryPromise({ try: () => quietChannel(connection), catch: (cause) => classify(eventsExchange, cause) }),
    (channel) =>
      Effect.forEach(
        steps,
        ({ run, subject }) =>
          Effect.tryPromise({ try: () => run(channel), catch: (cause) => classify(subject, cause) }),
        { discard: true }
      ),
    // Not waited for: a blocked broker answers when it reads again, a dead one never.
    (channel) => Effect.sync(() => void tryClose(channel))
  ).pipe(Effect.timeoutOrElse({
    duration: declareTimeout,
    orElse: () => Effect.fail(BrokerUnavailable.of("Disconnected", "no answer to declaring the topology"))
  }))

const preconditionFailed = 406

/** A refusal carries the broker's reply code; a lost connection carries none. */
const classify = (subject: string, cause: unknown): TopologyError => {
  const { code, message } = cause as { readonly code?: unknown; readonly message: string }
  return code === preconditionFailed
    ? TopologyMismatch.of(subject, message)
    : typeof code === "number"
    ? TopologyRefused.of(subject, message)
    : BrokerUnavailable.of("Disconnected", message)
}

/** In this order a queue never takes a message before its dead letters have a place to go. */
const steps: ReadonlyArray<{ readonly subject: string; readonly run: (channel: Channel) => Promise<unknown> }> = [
  { subject: deadExchange, run: (channel) => channel.assertExchange(deadExchange, "fanout", { durable: true }) },
  { subject: deadQueue, run: (channel) => channel.assertQueue(deadQueue, deadOptions) },
  { subject: deadQueue, run: (channel) => channel.bindQueue(deadQueue, deadExchange, "") },
  { subject: eventsExchange, run: (channel) => channel.assertExchange(eventsExchange, "topic", { durable: true }) },
  { subject: incomingQueue, run: (channel) => channel.assertQueue(incomingQueue, incomingOptions) },
  { subject: incomingQueue, run: (channel) => channel.bindQueue(incomingQueue, eventsExchange, "message.received.#") }
]

/** The refusal reaches us as the failure of the request; unheard, the event would end the process. */
const quietChannel = async (connection: ChannelModel): Promise<Channel> => {
  const channel = await connection.createChannel()
  channel.on("error", () => {})
  return channel
}

const tryClose = async (channel: Channel): Promise<void> => {
  try {
    await channel.close()
  } catch {
    // It was closed by the refusal, or by the connection's end.
  }
}
