/**
 * The limits of a cluster, by calculation: `node bench/scaling.ts [--quick]`. It prints the tables of docs/scaling.md.
 *
 * 1. How evenly shards spread devices and their events over nodes, and how many move when a node joins: with the hash ring of the
 *    sharding itself.
 * 2. Events per second, by a queueing model (`support/scalingModel.ts`) with service times that were measured on the program, and
 *    the bottleneck.
 * 3. How long devices are away when a node ends or all start.
 *
 * Nothing here was measured on a cluster; docs/scaling.md documents the source of each service time.
 */
import { Hash, HashRing, PrimaryKey } from "effect"
import { seeded } from "../src/simulator/Seeded.ts"
import { quick } from "./support/settings.ts"
import { simulate } from "./support/scalingModel.ts"
import type { Load, Outcome, ServiceTimes } from "./support/scalingModel.ts"

const shards = 300

/** Computed like the sharding. */
const shardOf = (device: string, count: number): number => Math.abs(Hash.string(device) % count)

class Node implements PrimaryKey.PrimaryKey {
  readonly name: string
  constructor(index: number) {
    this.name = `10.0.${Math.floor(index / 200)}.${11 + (index % 200)}:7800`
  }
  [PrimaryKey.symbol](): string {
    return this.name
  }
}

const assign = (nodes: number, count: number): ReadonlyArray<string> => {
  const ring = HashRing.make<Node>()
  for (let index = 0; index < nodes; index++) HashRing.add(ring, new Node(index))
  return HashRing.getShards(ring, count)!.map(({ name }) => name)
}

const deviceIds = (count: number, seed: string): ReadonlyArray<string> => {
  const random = seeded(seed)
  // Created at about the same time, like a fleet that was moved here.
  return Array.from({ length: count }, () => `dev_01KB2${random.hex(21)}`)
}

/** The rate of the k-th busiest device: k to the power of -exponent, in random order. 0: all alike. */
const rates = (count: number, exponent: number): ReadonlyArray<number> => {
  const all = Array.from({ length: count }, (_, index) => (index + 1) ** -exponent)
  const sum = all.reduce((total, one) => total + one)
  return all.map((one) => one / sum)
}

interface Spread {
  readonly devices: ReadonlyArray<number>
  readonly events: ReadonlyArray<number>
}

const spreadOver = (nodes: number, count: number, ids: ReadonlyArray<string>, by: ReadonlyArray<number>): Spread => {
  const owners = assign(nodes, count)
  const devices = new Map<string, number>(owners.map((name) => [name, 0]))
  const events = new Map(devices)
  for (const [index, id] of ids.entries()) {
    const owner = owners[shardOf(id, count)]!
    devices.set(owner, devices.get(owner)! + 1 / ids.length)
    events.set(owner, events.get(owner)! + by[index]!)
  }
  return { devices: [...devices.values()], events: [...events.values()] }
}

const quantile = (values: ReadonlyArray<number>, part: number): number => {
  const sorted = values.toSorted((left, right) => left - right)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!
}

const table = (heads: ReadonlyArray<string>, rows: ReadonlyArray<ReadonlyArray<string>>): void => {
  const line = (cells: ReadonlyArray<string>) => `| ${cells.join(" | ")} |\n`
  process.stdout.write(
    `${line(heads)}${line(heads.map((_, index) => index === 0 ? "---" : "---:"))}${rows.map(line).join("")}\n`
  )
}
const times = (value: number) => `${value.toFixed(2)}×`
const millis = (value: number) =>
  value >= 10_000 ? "grows" : value >= 100 ? `${Math.round(value)} ms` : `${value.toFixed(1)} ms`
const percent = (value: number) => `${Math.round(value * 100)} %`

// 1. Placement

const draws = quick ? 3 : 20

const placement = (): void => {
  const rows: Array<ReadonlyArray<string>> = []
  for (const [nodes, devices] of [[3, 10_000], [10, 100_000]] as const) {
    const fleets = Array.from({ length: draws }, (_, draw) => deviceIds(devices, `${nodes} ${draw}`))
    for (const exponent of [0, 0.5, 1, 1.2]) {
      const by = rates(devices, exponent)
      const found = fleets.map((ids) => {
        return { few: spreadOver(nodes, shards, ids, by), many: spreadOver(nodes, 10 * shards, ids, by) }
      })
      const busiest = (values: ReadonlyArray<number>) => Math.max(...values) * nodes
      const events = found.map(({ few }) => busiest(few.events))
      rows.push([
        `${devices.toLocaleString("en")} over ${nodes}, ${
          exponent === 0
            ? "all alike"
            : `Zipf ${exponent} (the busiest has ${(by[0]! * 100).toFixed(by[0]! < 0.001 ? 2 : 1)} %)`
        }`,
        times(quantile(found.map(({ few }) => busiest(few.devices)), 0.5)),
        times(quantile(events, 0.5)),
        times(quantile(events, 0.95)),
        times(quantile(found.map(({ many }) => busiest(many.events)), 0.5)),
        times(Math.max(1, by[0]! * nodes))
      ])
    }
  }
  table([
    "devices over nodes, and how different they are",
    "devices of the fullest node",
    "events of the busiest, median",
    "one draw in twenty",
    "with 3,000 shards",
    "at best"
  ], rows)
  table(
    ["nodes before and after", "shards that move", "at least"],
    ([[1, 2], [2, 3], [3, 4], [3, 2], [10, 11], [10, 9]] as const).map(([before, after]) => {
      const [old, now] = [assign(before, shards), assign(after, shards)]
      const moved = old.filter((name, index) => now[index] !== name).length
      return [
        `${before} → ${after}`,
        String(moved),
        String(Math.round(after > before ? shards * (after - before) / after : shards * (before - after) / before))
      ]
    })
  )
}

// 2. Events per second

/** docs/scaling.md documents the source of each. */
const measured: ServiceTimes = {
  appendBatch: 0.3,
  appendEvent: 0.017,
  flush: 0.1,
  roundTrip: 0.2,
  linger: 2,
  nodeBatch: 0.53,
  nodeEvent: 0.033,
  relayEvent: 0.02,
  brokerEvent: 0.054
}
const largeLog = { ...measured, appendEvent: 0.022 }
const network = { ...largeLog, flush: 1, roundTrip: 1 }
const slowDisk = { ...largeLog, flush: 5, roundTrip: 1 }

/** An event is stored within this time at the 99th percentile, and there is no backlog. */
const storedMax = 250
const behindMax = 1

const isSustained = ({ behindSeconds, stored }: Outcome) => stored.p99 <= storedMax && behindSeconds <= behindMax

const loadOf = (nodes: number, rate: number, over: Partial<Load> = {}): Load => ({
  nodes,
  rate,
  // The busiest node of one draw, from above, and equal others.
  shares: Array.from(
    { length: nodes },
    (_, index) => nodes === 1 ? 1 : index === 1 ? 1.2 / nodes : (1 - 1.2 / nodes) / (nodes - 1)
  ),
  partitions: 1,
  relays: 1,
  brokerCores: 2,
  seconds: quick ? 1 : 2,
  ...over
})

const limitOf = (service: ServiceTimes, nodes: number, over: Partial<Load> = {}) => {
  let [low, high] = [500, 200_000]
  while (high / low > 1.05) {
    const middle = Math.sqrt(low * high)
    if (isSustained(simulate(service, loadOf(nodes, middle, over), "limit"))) low = middle
    else high = middle
  }
  const { busy, stored } = simulate(service, loadOf(nodes, low, over), "limit")
  const [first] = Object.entries(busy).toSorted(([, left], [, right]) => right - left)
  return { rate: Math.round(low / 100) * 100, busy, stored, first: first![0] }
}

const names: Readonly<Record<string, string>> = {
  lock: "the lock of the log",
  node: "a node's event loop",
  relay: "the relay",
  broker: "the broker"
}

const throughput = (): void => {
  const rows: Array<ReadonlyArray<string>> = []
  const cases = [
    ["Postgres beside it, small log", measured, {}],
    ["Postgres beside it, 5 million events", largeLog, {}],
    ["over a network: 1 ms there and back, 1 ms to the disk", network, {}],
    ["a slow disk: 5 ms", slowDisk, {}],
    ["over a network, no broker limit", network, { brokerCores: 16 }],
    ["the same, the log in 4 partitions", network, { brokerCores: 16, partitions: 4 }],
    ["the same, with a relay for each", network, { brokerCores: 16, partitions: 4, relays: 4 }]
  ] as const
  for (const [what, service, over] of cases) {
    for (const nodes of [1, 3, 10]) {
      const { busy, first, rate, stored } = limitOf(service, nodes, over)
      rows.push([
        what,
        String(nodes),
        rate.toLocaleString("en"),
        names[first]!,
        percent(busy.lock),
        percent(busy.node),
        percent(busy.relay),
        percent(busy.broker),
        millis(stored.p99)
      ])
    }
  }
  table(
    ["", "nodes", "events/s", "used up first", "lock", "busiest node", "relay alone", "broker", "stored, p99"],
    rows
  )
}

/** 100,000 devices: 30 events a second for each thousand of them, and four times as many in the busiest hour. */
const fleet = (): void => {
  const rows = ([
    ["average, on one node", 1, 3000, {}],
    ["average", 10, 3000, {}],
    ["busiest hour", 10, 12_000, {}],
    ["busiest hour, two logs", 10, 12_000, { partitions: 2 }]
  ] as const).map(([what, nodes, rate, over]) => {
    const { behindSeconds, busy, eventsPerBatch, published, stored } = simulate(
      network,
      loadOf(nodes, rate, over),
      what
    )
    return [
      `${what}, ${rate.toLocaleString("en")}/s`,
      `${millis(stored.p50)} / ${millis(stored.p99)}`,
      `${millis(published.p50)} / ${millis(published.p99)}`,
      eventsPerBatch.toFixed(1),
      percent(busy.lock),
      percent(busy.node),
      percent(busy.broker),
      behindSeconds > behindMax ? "yes" : "no"
    ]
  })
  table(
    [
      "100,000 devices over 10 nodes",
      "stored, p50 / p99",
      "published",
      "events per batch",
      "lock",
      "busiest node",
      "broker",
      "falls behind"
    ],
    rows
  )
}

// 3. Devices that reconnect

const comeBack = (): void => {
  const connectsPerSecond = 500
  const connectCpu = 1.57e-3
  const historyPerSecond = 50
  table(
    [
      "",
      "devices per node that connect",
      "connected after",
      "connects per second at the gateways",
      "first page of every history after"
    ],
    ([
      ["10,000 over 3, one is killed", 10_000 / 3 / 2, 2],
      ["100,000 over 10, one is killed", 100_000 / 10 / 9, 9],
      ["100,000 over 10, all start", 10_000, 10]
    ] as const).map(([what, each, nodes]) => {
      const perSecond = Math.min(connectsPerSecond, 1 / connectCpu)
      return [
        what,
        Math.round(each).toLocaleString("en"),
        `${(each / perSecond).toFixed(1)} s`,
        Math.round(nodes * perSecond).toLocaleString("en"),
        `${Math.round(each / historyPerSecond)} s`
      ]
    })
  )
}

placement()
throughput()
fleet()
comeBack()
