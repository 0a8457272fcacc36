/**
 * A consumer of Columba's events with a queue of its own: node examples/rabbitmqConsumer.ts
 *
 * It stores every incoming message exactly once, whatever is delivered twice, and survives restarts of the broker and
 * of itself. SQLite stands for any database with transactions and a unique key.
 */
import { connect } from "amqplib"
import type { Channel, ConsumeMessage } from "amqplib"
import { DatabaseSync } from "node:sqlite"
import { setTimeout as delay } from "node:timers/promises"

const url = process.env["RABBITMQ_URL"] ?? "amqp://guest:guest@127.0.0.1:5672"
const queue = process.env["QUEUE"] ?? "shop.whatsapp"
const deadQueue = `${queue}.dead`
/** Bound as `{kind}.{deviceId}`: `message.received.*` is every incoming message, `device.#` all about devices. */
const bindings = ["message.received.*", "message.ack.*"]

const database = new DatabaseSync(process.env["DATABASE"] ?? "consumer.db", { timeout: 5_000 })
database.exec("create table if not exists handled (event_id text primary key)")
database.exec("create table if not exists messages (device text, chat text, wa_id text, body text)")
const remember = database.prepare("insert into handled (event_id) values (?) on conflict do nothing")
const store = database.prepare("insert into messages (device, chat, wa_id, body) values (?, ?, ?, ?)")

/** The parts of an event that this consumer uses. */
interface Event {
  readonly id: string
  readonly kind: string
  readonly deviceId: string
  readonly data: { readonly chat: string; readonly waId: string; readonly body: string | null }
}

/** The work itself. It throws to get the event delivered again. */
const handle = ({ data, deviceId, kind }: Event): void => {
  if (kind === "message.received") store.run(deviceId, data.chat, data.waId, data.body)
}

/** The id and the work are committed together, so a repeat of the event finds its id and does nothing. */
const handleOnce = (event: Event): boolean => {
  database.exec("begin immediate")
  try {
    const isNew = remember.run(event.id).changes === 1
    if (isNew) handle(event)
    database.exec("commit")
    return isNew
  } catch (error) {
    database.exec("rollback")
    throw error
  }
}

const onMessage = (channel: Channel, message: ConsumeMessage): void => {
  try {
    const isNew = handleOnce(JSON.parse(message.content.toString()) as Event)
    // After the commit: a crash in between means a repeat, never a loss.
    channel.ack(message)
    const { headers, type } = message.properties
    console.log(isNew ? "handled" : "repeated", headers?.["seq"], type)
  } catch (error) {
    // Delivered again at once; after the limit of deliveries the broker moves it to the dead letters. `nack` would not
    // count as a delivery since RabbitMQ 4.3.
    channel.reject(message, true)
    console.error("failed", message.properties.messageId, error instanceof Error ? error.message : error)
  }
}

const declare = async (channel: Channel): Promise<void> => {
  // The same declarations as Columba's, so that either may start first.
  await channel.assertExchange("columba.events", "topic", { durable: true })
  // Without another limit, RabbitMQ 4 drops messages that were read and returned 20 times.
  await channel.assertQueue(deadQueue, {
    durable: true,
    arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000 }
  })
  await channel.assertQueue(queue, {
    durable: true,
    arguments: {
      "x-queue-type": "quorum",
      "x-delivery-limit": 5,
      "x-dead-letter-exchange": "",
      "x-dead-letter-routing-key": deadQueue
    }
  })
  for (const binding of bindings) await channel.bindQueue(queue, "columba.events", binding)
}

/** Returns when the connection has ended, for any reason. */
const consume = async (): Promise<void> => {
  const connection = await connect(url, { clientProperties: { connection_name: queue } })
  const closed = new Promise<void>((resolve) => connection.on("close", () => resolve()))
  connection.on("error", (error) => console.error("connection lost:", error.message))
  const channel = await connection.createChannel()
  channel.on("error", (error) => console.error("channel lost:", error.message))
  channel.on("close", () => void connection.close().catch(() => {}))
  await declare(channel)
  // Maximum number of unacknowledged messages held here. With 1, the events of a device stay in order also after a failure.
  await channel.prefetch(50)
  console.log("consuming", queue)
  await channel.consume(queue, (message) => {
    // Null: the queue was deleted. The next connection declares it again.
    if (message === null) void channel.close().catch(() => {})
    else onMessage(channel, message)
  })
  await closed
}

for (;;) {
  await consume().catch((error: unknown) =>
    console.error("no connection:", error instanceof Error ? error.message : "")
  )
  await delay(1000)
}
