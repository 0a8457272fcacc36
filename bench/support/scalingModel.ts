/**
 * A discrete-event model of the path of an event through a cluster: nodes that collect batches, the log's lock, the relay and
 * the broker. Times are milliseconds. It models queues and service times, not what the program does with an event.
 */
import { seeded } from "../../src/simulator/Seeded.ts"

export interface ServiceTimes {
  /** Time of the database while it holds the lock of the log: for each batch, and for each event in it. */
  readonly appendBatch: number
  readonly appendEvent: number
  /** Time until the commit is on the disk; the lock is held meanwhile. */
  readonly flush: number
  /** From a node to the database and back, outside of the lock. */
  readonly roundTrip: number
  /** Minimum time between the beginnings of two batches; otherwise a batch begins at once. */
  readonly linger: number
  /** Time of a node's event loop. */
  readonly nodeBatch: number
  readonly nodeEvent: number
  /** Time of the event loop of the node that relays. */
  readonly relayEvent: number
  readonly brokerEvent: number
}

export interface Load {
  readonly nodes: number
  /** Events per second, of all devices. */
  readonly rate: number
  /** The part of the events that comes from each node's devices. */
  readonly shares: ReadonlyArray<number>
  /** Number of logs with separate locks, in the same database. */
  readonly partitions: number
  /** Number of relays, each of some partitions, on separate nodes. */
  readonly relays: number
  readonly brokerCores: number
  readonly seconds: number
}

export interface Outcome {
  /** Time from the arrival of an event to the commit, and to the broker's confirm. */
  readonly stored: { readonly p50: number; readonly p99: number }
  readonly published: { readonly p50: number; readonly p99: number }
  readonly eventsPerBatch: number
  /** The share of the time in which it is busy. */
  readonly busy: { readonly lock: number; readonly node: number; readonly relay: number; readonly broker: number }
  /** Events that had not been published at the end, in seconds of load. */
  readonly behindSeconds: number
}

/** The program's maximum size of a batch. */
const batchMax = 500

interface Batch {
  readonly node: number
  readonly partition: number
  readonly arrivals: ReadonlyArray<number>
}

/** A server with one queue; `at` must not decrease. */
class Server {
  #freeAt = 0
  busy = 0

  /** The end of work that arrives now. */
  serve(at: number, time: number): number {
    this.busy += time
    this.#freeAt = Math.max(this.#freeAt, at) + time
    return this.#freeAt
  }
}

/** A binary heap of future events by time. */
class Agenda {
  readonly #heap: Array<{ readonly at: number; readonly run: () => void }> = []

  add(at: number, run: () => void): void {
    const heap = this.#heap
    heap.push({ at, run })
    for (let index = heap.length - 1; index > 0;) {
      const parent = (index - 1) >> 1
      if (heap[parent]!.at <= heap[index]!.at) return
      ;[heap[parent], heap[index]] = [heap[index]!, heap[parent]!]
      index = parent
    }
  }

  next(): { readonly at: number; readonly run: () => void } | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    heap[0] = last
    for (let index = 0;;) {
      let least = index
      for (const child of [2 * index + 1, 2 * index + 2]) {
        if (child < heap.length && heap[child]!.at < heap[least]!.at) least = child
      }
      if (least === index) return first
      ;[heap[least], heap[index]] = [heap[index]!, heap[least]!]
      index = least
    }
  }
}

const quantile = (sorted: ReadonlyArray<number>, part: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? 0

export const simulate = (times: ServiceTimes, load: Load, seed: string): Outcome => {
  const random = seeded(seed)
  const agenda = new Agenda()
  const end = load.seconds * 1000
  const locks = Array.from({ length: load.partitions }, () => new Server())
  const loops = Array.from({ length: load.nodes }, () => new Server())
  const broker = new Server()
  const waiting = Array.from(
    { length: load.nodes },
    () => Array.from({ length: load.partitions }, (): Array<number> => [])
  )
  const writing = waiting.map((partitions) => partitions.map(() => false))
  const beganAt = waiting.map((partitions) => partitions.map(() => Number.NEGATIVE_INFINITY))
  const stored: Array<number> = []
  const published: Array<number> = []
  let arrived = 0
  let batches = 0
  const relayBusy = Array.from({ length: load.relays }, () => 0)

  const publish = ({ arrivals, partition }: Batch, at: number): void => {
    const work = arrivals.length * times.relayEvent
    const relay = partition % load.relays
    relayBusy[relay]! += work
    // In the order of the commits.
    const sent = loops[relay % load.nodes]!.serve(at, work)
    const confirmed = broker.serve(sent, arrivals.length * times.brokerEvent / load.brokerCores)
    if (confirmed <= end) { for (const arrival of arrivals) published.push(confirmed - arrival) }
  }

  const write = (node: number, partition: number, now: number): void => {
    const gathered = waiting[node]![partition]!
    if (gathered.length === 0) return
    writing[node]![partition] = true
    const soonest = beganAt[node]![partition]! + times.linger
    if (now < soonest && gathered.length < batchMax) {
      agenda.add(soonest, () => begin(node, partition, soonest))
    } else {
      begin(node, partition, now)
    }
  }

  const begin = (node: number, partition: number, now: number): void => {
    const arrivals = waiting[node]![partition]!.splice(0, batchMax)
    beganAt[node]![partition] = now
    batches++
    const batch: Batch = { node, partition, arrivals }
    const sent = loops[node]!.serve(now, times.nodeBatch + arrivals.length * times.nodeEvent)
    agenda.add(sent + times.roundTrip / 2, () => lock(batch, sent + times.roundTrip / 2))
  }

  const lock = (batch: Batch, now: number): void => {
    const { arrivals, node, partition } = batch
    const committed = locks[partition]!.serve(
      now,
      times.appendBatch + arrivals.length * times.appendEvent + times.flush
    )
    const answered = committed + times.roundTrip / 2
    agenda.add(answered, () => {
      for (const arrival of arrivals) stored.push(answered - arrival)
      writing[node]![partition] = false
      write(node, partition, answered)
      publish(batch, answered)
    })
  }

  const arrive = (node: number, mean: number) => {
    const next = (now: number): void => {
      const at = now - Math.log(1 - random.next()) * mean
      if (at > end) return
      agenda.add(at, () => {
        arrived++
        const partition = Math.floor(random.next() * load.partitions)
        waiting[node]![partition]!.push(at)
        if (!writing[node]![partition]) write(node, partition, at)
        next(at)
      })
    }
    next(0)
  }
  for (let node = 0; node < load.nodes; node++) arrive(node, 1000 / (load.rate * load.shares[node]!))
  for (let event = agenda.next(); event !== undefined && event.at <= end; event = agenda.next()) event.run()

  const spread = (values: Array<number>) => {
    values.sort((left, right) => left - right)
    return { p50: quantile(values, 0.5), p99: quantile(values, 0.99) }
  }
  return {
    stored: spread(stored),
    published: spread(published),
    eventsPerBatch: batches === 0 ? 0 : stored.length / batches,
    busy: {
      lock: Math.max(...locks.map(({ busy }) => busy)) / end,
      node: Math.max(...loops.map(({ busy }) => busy)) / end,
      relay: Math.max(...relayBusy) / end,
      broker: broker.busy / end
    },
    behindSeconds: (arrived - published.length) / load.rate
  }
}
