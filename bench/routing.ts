/**
 * The broker's cost of the ways to the guaranteed queue: `node bench/routing.ts [rounds]`.
 *
 * CPU time of the broker per event, for 10,000 events of 778 bytes with the usual headers, published with
 * confirms and 512 in flight by one process that does the same for each way; and for a steady rate, where the broker
 * cannot share the cost of a wake-up between events. The ways take turns, each with its own exchanges and queues, which are
 * emptied after each turn. Each is measured without another subscriber, and with the queue of one service that is bound to
 * all messages of the topic exchange. Prints medians as JSON.
 *
 * Which of these ways guarantee that the guaranteed queue cannot be bypassed is not measured here: see
 * docs/decisions/0006-guaranteed-queue.md.
 */
import { connect } from "amqplib"
import type { ConfirmChannel, Options } from "amqplib"
import { cpuMicros, sleep } from "./support/processes.ts"
import { progress } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick } from "./support/settings.ts"
import { median } from "./support/statistics.ts"

const rounds = quick ? 1 : Number(process.argv[2] ?? 5)
const burstEvents = quick ? 2_000 : 10_000
const windowEvents = 512
const steadyPerSecond = 200
const steadySeconds = quick ? 1 : 4
const devices = 1_000
const body = Buffer.alloc(778, "x")

/** Exchanges and queues of one subject, and its channel. */
interface Site {
  readonly channel: ConfirmChannel
  readonly queue: string
  readonly topic: string
  readonly front: string
}

interface Way {
  readonly name: string
  /** In addition to the queue and the topic exchange, which all of them have. */
  readonly declare: (site: Site) => Promise<unknown>
  /** Returns the number of confirms that follow. */
  readonly publish: (site: Site, device: string, options: Options.Publish, confirmed: () => void) => number
}

const keyOf = (device: string): string => `message.received.${device}`
const frontKeys = { queue: "to-queue", topic: "to-topic" }

const ways: ReadonlyArray<Way> = [
  {
    name: "default exchange, then topic exchange (shipped)",
    declare: async () => {},
    publish: ({ channel, queue, topic }, device, options, confirmed) => {
      channel.publish("", queue, body, { ...options, mandatory: true }, confirmed)
      channel.publish(topic, keyOf(device), body, options, confirmed)
      return 2
    }
  },
  {
    name: "topic exchange, queue bound to message.received.#",
    declare: ({ channel, queue, topic }) => channel.bindQueue(queue, topic, "message.received.#"),
    publish: ({ channel, topic }, device, options, confirmed) => {
      channel.publish(topic, keyOf(device), body, { ...options, mandatory: true }, confirmed)
      return 1
    }
  },
  {
    name: "direct exchange by BCC, queue and topic exchange behind it",
    declare: async ({ channel, front, queue, topic }) => {
      await channel.assertExchange(front, "direct", { durable: true })
      await channel.bindQueue(queue, front, frontKeys.queue)
      await channel.bindExchange(topic, front, frontKeys.topic)
    },
    publish: ({ channel, front }, device, options, confirmed) => {
      const BCC = [frontKeys.queue, frontKeys.topic]
      channel.publish(front, keyOf(device), body, { ...options, mandatory: true, BCC }, confirmed)
      return 1
    }
  },
  {
    name: "direct exchange, key without the device, topic exchange behind it",
    declare: async ({ channel, front, queue, topic }) => {
      await channel.assertExchange(front, "direct", { durable: true })
      await channel.bindQueue(queue, front, "message.received")
      await channel.bindExchange(topic, front, "message.received")
    },
    publish: ({ channel, front }, _, options, confirmed) => {
      channel.publish(front, "message.received", body, { ...options, mandatory: true }, confirmed)
      return 1
    }
  },
  {
    name: "fanout exchange, queue and topic exchange behind it",
    declare: async ({ channel, front, queue, topic }) => {
      await channel.assertExchange(front, "fanout", { durable: true })
      await channel.bindQueue(queue, front, "")
      await channel.bindExchange(topic, front, "")
    },
    publish: ({ channel, front }, device, options, confirmed) => {
      channel.publish(front, keyOf(device), body, { ...options, mandatory: true }, confirmed)
      return 1
    }
  },
  {
    name: "default exchange alone (no topic exchange)",
    declare: async () => {},
    publish: ({ channel, queue }, _, options, confirmed) => {
      channel.publish("", queue, body, { ...options, mandatory: true }, confirmed)
      return 1
    }
  }
]

await using servers = await startServers({ broker: true })
const connection = await connect(await servers.freshVirtualHost())

interface Subject {
  readonly name: string
  readonly way: Way
  readonly site: Site
  readonly queues: ReadonlyArray<string>
}

let opened = 0

const open = async (way: Way, subscribed: boolean): Promise<Subject> => {
  const channel = await connection.createConfirmChannel()
  channel.on("return", () => {
    throw new Error(`${way.name}: the broker returned a message`)
  })
  const number = ++opened
  const site = { channel, queue: `incoming.${number}`, topic: `events.${number}`, front: `front.${number}` }
  const quorum = { durable: true, arguments: { "x-queue-type": "quorum" } }
  await channel.assertExchange(site.topic, "topic", { durable: true })
  await channel.assertQueue(site.queue, quorum)
  await way.declare(site)
  const service = `service.${number}`
  if (subscribed) {
    await channel.assertQueue(service, quorum)
    await channel.bindQueue(service, site.topic, "message.#")
  }
  return {
    name: `${way.name}${subscribed ? "; a service's queue bound" : ""}`,
    way,
    site,
    queues: subscribed ? [site.queue, service] : [site.queue]
  }
}

const publishOptions = (number: number, device: string): Options.Publish => ({
  persistent: true,
  messageId: `01932b6e-0000-7000-8000-${String(number).padStart(12, "0")}`,
  type: "message.received",
  contentType: "application/json",
  timestamp: 1_790_000_000,
  headers: { seq: String(number), device, traceparent: `00-${"a".repeat(32)}-${"b".repeat(16)}-00` }
})

let published = 0

/** Publishes events in turns of the event loop, as many at once as the window allows. */
const publishAll = ({ site, way }: Subject, count: number, pace: () => number): Promise<void> =>
  new Promise((resolve) => {
    let sent = 0
    let open = 0
    const confirmed = () => {
      open--
      if (sent === count && open === 0) resolve()
    }
    const next = () => {
      const due = Math.min(count, pace())
      while (sent < due && open < windowEvents) {
        const number = published++
        const device = `dev_${String(number % devices).padStart(26, "0")}`
        open += way.publish(site, device, publishOptions(number, device), confirmed)
        sent++
      }
      if (sent < count) setTimeout(next, 1)
    }
    next()
  })

const measure = async (subject: Subject, count: number, pace: () => number): Promise<number> => {
  const pids = servers.brokerProcesses()
  const before = cpuMicros(pids)
  await publishAll(subject, count, pace)
  const used = (cpuMicros(pids) - before) / count
  for (const name of subject.queues) await subject.site.channel.purgeQueue(name)
  await sleep(300)
  return used
}

const burst = (subject: Subject): Promise<number> => measure(subject, burstEvents, () => burstEvents)

const steady = (subject: Subject): Promise<number> => {
  const start = performance.now()
  return measure(
    subject,
    steadyPerSecond * steadySeconds,
    () => Math.floor((performance.now() - start) * steadyPerSecond / 1000)
  )
}

const subjects: Array<Subject> = []
for (const subscribed of [false, true]) for (const way of ways) subjects.push(await open(way, subscribed))
const results = subjects.map(({ name }) => ({ name, burst: [] as Array<number>, steady: [] as Array<number> }))
for (const subject of subjects) await burst(subject)
for (let round = 1; round <= rounds; round++) {
  progress(`routing: round ${round} of ${rounds}`)
  for (let turn = 0; turn < subjects.length; turn++) {
    const index = (turn + round) % subjects.length
    results[index]!.burst.push(await burst(subjects[index]!))
    results[index]!.steady.push(await steady(subjects[index]!))
  }
}
const micros = (values: ReadonlyArray<number>): number => Math.round(median(values) * 10) / 10
process.stdout.write(
  `${
    JSON.stringify(
      results.map(({ burst, name, steady }) => ({ name, burst: micros(burst), steady: micros(steady) })),
      null,
      2
    )
  }\n`
)
process.exit(0)
