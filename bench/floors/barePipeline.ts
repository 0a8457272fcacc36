/**
 * The floor of the pipeline: what a careful engineer writes by hand for speed alone. Frames are parsed, collected in
 * batches, and written to an outbox and a message table in one statement, which also deletes the previous batch from
 * the outbox; then each event is published and confirmed. At-least-once and in order like Columba's, with the same
 * flush rule, so that the ratio shows what Columba adds: decoding by schema, numbers without holes, duplicates detected by
 * more than an id, a log that can be read again, and supervised devices.
 */
import { connect as connectBroker } from "amqplib"
import type { ConfirmChannel } from "amqplib"
import { randomUUID } from "node:crypto"
import pg from "pg"
import WebSocket from "ws"
import { makeUpstreamId } from "../support/frames.ts"
import { Latencies } from "../support/statistics.ts"
import type { PipelineHandlers } from "../support/subjects.ts"
import { longestBlock, startBlocks } from "../support/loopBlocks.ts"
import { serveParent } from "../support/worker.ts"

/** The flush rule: at once if nothing is being written and the last write is older than this, else within this time. */
const lingerMillis = 2
/** Without new events, published rows are deleted after this time. */
const settleMillis = 20
const batchMax = 500
/** Sockets are not read above this many unconfirmed events, and read again below half of it. */
const inFlightMax = 4_000
/** Maximum number of unconfirmed messages at the broker: more would only wait there. */
const publishWindow = 512
const handshakesMax = 128
const pingMillis = 10_000
const pingSlots = 100
const exchange = "bare.events"
const queueName = "bare.messages.incoming"
const deadExchange = "bare.dead"
const queueArguments = {
  "x-queue-type": "quorum",
  "x-delivery-limit": 10,
  "x-dead-letter-exchange": deadExchange,
  "x-dead-letter-strategy": "at-least-once",
  "x-overflow": "reject-publish"
}
const authorization = `Basic ${Buffer.from("bench:bench").toString("base64")}`

interface Row {
  readonly id: string
  readonly device: string
  readonly waId: string
  readonly chat: string
  readonly sender: string
  readonly body: string
  readonly occurredAt: string
  /** The published text: about as long as an event of Columba. */
  readonly event: string
  readonly at: number
}

interface Envelope {
  readonly event: string
  readonly device_id: string
  readonly payload: {
    readonly id: string
    readonly chat_id: string
    readonly from: string
    readonly from_name: string
    readonly sender_display_name: string
    readonly is_from_me: boolean
    readonly body: string
    readonly timestamp: string
  }
}

const schema = `
  create table messages (
    id uuid primary key, device text not null, wa_id text not null, chat text not null, sender text not null,
    body text not null, occurred_at timestamptz not null, unique (device, wa_id)
  );
  create table outbox (id uuid primary key, body text not null)`

/** One statement: one transaction and one round trip per batch. */
const write = `
  with settled as (delete from outbox where id = any($8::uuid[])),
  incoming as (
    select * from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[],
      $9::text[]) as i(id, device, wa_id, chat, sender, body, occurred_at, envelope)
  ),
  stored as (
    insert into messages (id, device, wa_id, chat, sender, body, occurred_at)
    select id, device, wa_id, chat, sender, body, occurred_at from incoming on conflict do nothing returning id
  )
  insert into outbox (id, body) select id, envelope from incoming where id in (select id from stored)`

const sockets: Array<WebSocket> = []
const gathered: Array<Row> = []
const toPublish: Array<Row> = []
let settled: Array<string> = []
let writing = false
let lastWrite = 0
let lingering: NodeJS.Timeout | undefined
let settling: NodeJS.Timeout | undefined
let inFlight = 0
let unconfirmed = 0
let paused = false
let published = 0
let publishedWanted: { readonly count: number; readonly reached: () => void } | undefined
const stored = new Latencies()
const confirmed = new Latencies()
let database: InstanceType<typeof pg.Client>
let channel: ConfirmChannel

const onMessage = (data: Buffer): void => {
  const at = performance.now()
  const { device_id, payload } = JSON.parse(data.toString()) as Envelope
  const id = randomUUID()
  const event = {
    id,
    kind: "message.received",
    deviceId: device_id,
    occurredAt: payload.timestamp,
    recordedAt: new Date().toISOString(),
    via: "live",
    data: {
      messageId: `msg_${id}`,
      waId: payload.id,
      chat: payload.chat_id,
      sender: payload.from,
      fromMe: payload.is_from_me,
      type: "text",
      body: payload.body,
      extra: { from_name: payload.from_name, sender_display_name: payload.sender_display_name }
    }
  }
  gathered.push({
    id,
    device: device_id,
    waId: payload.id,
    chat: payload.chat_id,
    sender: payload.from,
    body: payload.body,
    occurredAt: payload.timestamp,
    event: JSON.stringify(event),
    at
  })
  if (++inFlight > inFlightMax && !paused) {
    paused = true
    for (const socket of sockets) socket.pause()
  }
  schedule()
}

const schedule = (): void => {
  if (writing || lingering !== undefined) return
  if (gathered.length === 0) {
    if (settled.length > 0) settling ??= setTimeout(() => void flush(), settleMillis)
  } else if (gathered.length >= batchMax || performance.now() - lastWrite >= lingerMillis) {
    void flush()
  } else {
    lingering = setTimeout(() => {
      lingering = undefined
      void flush()
    }, lingerMillis)
  }
}

const flush = async (): Promise<void> => {
  if (writing) return
  writing = true
  clearTimeout(settling)
  settling = undefined
  const batch = gathered.splice(0, batchMax)
  const done = settled
  settled = []
  await database.query({
    name: "write",
    text: write,
    values: [
      batch.map((row) => row.id),
      batch.map((row) => row.device),
      batch.map((row) => row.waId),
      batch.map((row) => row.chat),
      batch.map((row) => row.sender),
      batch.map((row) => row.body),
      batch.map((row) => row.occurredAt),
      done,
      batch.map((row) => row.event)
    ]
  })
  lastWrite = performance.now()
  for (const row of batch) {
    stored.add(lastWrite - row.at)
    toPublish.push(row)
  }
  writing = false
  publishNext()
  schedule()
}

let publishedUpTo = 0
const publishNext = (): void => {
  while (unconfirmed < publishWindow && publishedUpTo < toPublish.length) {
    const row = toPublish[publishedUpTo++]!
    unconfirmed++
    channel.publish(exchange, `message.received.${row.device}`, Buffer.from(row.event), {
      persistent: true,
      mandatory: true,
      messageId: row.id,
      type: "message.received",
      contentType: "application/json",
      timestamp: Math.floor(Date.now() / 1000),
      headers: { device: row.device }
    }, (error) => {
      if (error !== null && error !== undefined) throw error
      onConfirm(row)
    })
  }
  if (publishedUpTo > batchMax) {
    toPublish.splice(0, publishedUpTo)
    publishedUpTo = 0
  }
}

const onConfirm = (row: Row): void => {
  unconfirmed--
  published++
  confirmed.add(performance.now() - row.at)
  settled.push(row.id)
  if (--inFlight < inFlightMax / 2 && paused) {
    paused = false
    for (const socket of sockets) socket.resume()
  }
  publishNext()
  schedule()
  if (publishedWanted !== undefined && published >= publishedWanted.count) {
    publishedWanted.reached()
    publishedWanted = undefined
  }
}

/** Each socket is pinged once per turn of the wheel, like those of Columba; here no answer is missed. */
const startPings = (): void => {
  let slot = 0
  setInterval(() => {
    for (let index = slot; index < sockets.length; index += pingSlots) sockets[index]!.ping()
    slot = (slot + 1) % pingSlots
  }, pingMillis / pingSlots)
}

const openSocket = (gatewayPort: number, index: number): Promise<void> => {
  const upstreamId = makeUpstreamId(index)
  const socket = new WebSocket(`ws://127.0.0.1:${gatewayPort}/ws?device_id=${upstreamId}`, {
    perMessageDeflate: false,
    headers: { authorization, "x-device-id": upstreamId }
  })
  sockets.push(socket)
  socket.on("message", onMessage)
  return new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
}

const handlers: PipelineHandlers = {
  start: async (options) => {
    database = new pg.Client({ connectionString: options.databaseUrl })
    await database.connect()
    await database.query(schema)
    const connection = await connectBroker(options.brokerUrl)
    channel = await connection.createConfirmChannel()
    await channel.assertExchange(exchange, "topic", { durable: true })
    await channel.assertExchange(deadExchange, "fanout", { durable: true })
    await channel.assertQueue(queueName, { durable: true, arguments: queueArguments })
    await channel.bindQueue(queueName, exchange, "message.received.#")
    for (let index = 0; index < options.count; index += handshakesMax) {
      const group = Math.min(handshakesMax, options.count - index)
      await Promise.all(Array.from({ length: group }, (_, at) => openSocket(options.gatewayPort, index + at)))
    }
    startPings()
  },
  awaitPublished: (count) =>
    new Promise((resolve) => {
      if (published >= count) resolve()
      else publishedWanted = { count, reached: resolve }
    }),
  startBlocks,
  longestBlock,
  startLatencies: () => {
    stored.clear()
    confirmed.clear()
  },
  latencies: () => ({ stored: stored.summary(), published: confirmed.summary() }),
  ledger: async () => {
    while (settled.length > 0 || writing) await new Promise((resolve) => setTimeout(resolve, 5))
    const { rows } = await database.query<{ readonly rows: number; readonly outbox: number }>(
      "select (select count(*)::int from messages) as rows, (select count(*)::int from outbox) as outbox"
    )
    const { messageCount } = await channel.checkQueue(queueName)
    return { rows: rows[0]!.rows, unsettled: rows[0]!.outbox, queued: messageCount }
  }
}

serveParent(handlers)
