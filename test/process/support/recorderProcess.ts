/**
 * Writes all messages of the broker to a file, in a separate process: its own queue is bound to all events, and each message
 * is on disk before it is acknowledged. It reconnects by itself after a broker outage.
 *
 * Arguments: the broker's URL and the file. Sends its parent `bound`, the number it has, and `drained` on request.
 */
import { openSync, writeSync } from "node:fs"
import { connect } from "amqplib"
import type { Channel, ConsumeMessage } from "amqplib"

const [, , url, path] = process.argv
const file = openSync(path!, "a")
const queue = "columba-test-recorder"

/** Messages acknowledged together, so that the recorder does not slow the broker down. */
const prefetch = 500
const againAfterMillis = 100

let recorded = 0
let highest = 0
let channel: Channel | undefined

const write = (message: ConsumeMessage): void => {
  const { fields, properties } = message
  const body = JSON.parse(message.content.toString("utf8")) as {
    id: string
    seq: string
    kind: string
    deviceId: string
  }
  const headers = properties.headers as { seq?: unknown; device?: unknown }
  const consistent = body.id === properties.messageId && body.seq === String(headers.seq) &&
    body.kind === properties.type && body.deviceId === headers.device &&
    fields.routingKey === `${body.kind}.${body.deviceId}`
  const entry = {
    // A message whose properties and body disagree is no event.
    messageId: consistent ? body.id : `inconsistent ${properties.messageId}`,
    seq: Number(body.seq),
    kind: body.kind,
    deviceId: body.deviceId,
    redelivered: fields.redelivered
  }
  writeSync(file, `${JSON.stringify(entry)}\n`)
  recorded++
  highest = Math.max(highest, entry.seq)
}

const record = async (): Promise<void> => {
  const connection = await connect(url!, { noDelay: true })
  connection.on("error", () => {})
  const lost = new Promise<void>((resolve) => connection.once("close", resolve))
  const opened = await connection.createChannel()
  opened.on("error", () => {})
  await opened.assertExchange("columba.events", "topic", { durable: true })
  // A recorder that is restarted again and again must lose nothing by the limit of 20 deliveries of RabbitMQ 4.
  await opened.assertQueue(queue, {
    durable: true,
    arguments: { "x-queue-type": "quorum", "x-delivery-limit": 1_000_000 }
  })
  await opened.bindQueue(queue, "columba.events", "#")
  await opened.prefetch(prefetch)
  let unacknowledged: ConsumeMessage | undefined
  await opened.consume(queue, (message) => {
    if (message === null) return void connection.close()
    write(message)
    if (unacknowledged === undefined) {
      setImmediate(() => {
        const last = unacknowledged
        unacknowledged = undefined
        if (last !== undefined && channel === opened) opened.ack(last, true)
        process.send?.({ _tag: "recorded", recorded, highest })
      })
    }
    unacknowledged = message
  })
  channel = opened
  process.send?.({ _tag: "bound" })
  await lost
  channel = undefined
}

/** Whether the queue is empty. The broker is asked, so that messages on their way are counted too. */
const isDrained = async (): Promise<boolean> => {
  try {
    const before = recorded
    const { messageCount } = await channel!.checkQueue(queue)
    return messageCount === 0 && before === recorded
  } catch {
    return false
  }
}

process.on("message", (message: { readonly _tag: string }) => {
  if (message._tag !== "drain") return
  void isDrained().then((drained) => process.send?.({ _tag: "drained", drained }))
})
process.on("disconnect", () => process.exit(0))

for (;;) {
  await record().catch(() => {})
  await new Promise((resolve) => setTimeout(resolve, againAfterMillis))
}
