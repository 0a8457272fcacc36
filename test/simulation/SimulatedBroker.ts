/**
 * RabbitMQ in a simulated world, as far as the sink sees it: a connection whose channels accept publishes and report
 * confirms, returns and their end; durable queues; and a consumer that crashes and gets redeliveries. The real `RabbitSink`
 * writes its real frames to it.
 *
 * It fails as a broker and a network may fail: frames lost with their connection or read late, confirms that never come or
 * come in another order, refusals, a queue that is gone, a broker that reads nothing for a while or is down. Confirmed
 * messages are kept.
 */
import { EventEmitter } from "node:events"
import type { ChannelModel } from "amqplib"
import { Context, Effect, Stream } from "effect"
import { incomingQueue } from "../../src/layers/rabbitmq/Topology.ts"
import { BrokerUnavailable, RabbitMq } from "../../src/layers/rabbitmq/RabbitMq.ts"
import { TopologyGuard } from "../../src/layers/rabbitmq/TopologyGuard.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Delivered } from "../support/Ledger.ts"
import { readPublishes } from "./amqpFrames.ts"
import type { Publish } from "./amqpFrames.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface BrokerFaults {
  /** Probability per message that the guaranteed queue refuses it, or that its confirm never comes. */
  readonly refusal: number
  readonly confirmLost: number
  /** Probability per delivery that the consumer crashes before it has acknowledged it. */
  readonly consumerCrash: number
  readonly latencyMax: number
}

interface Queued {
  readonly delivery: Omit<Delivered, "redelivered">
  redelivered: boolean
}

/** As RabbitMQ negotiates it with amqplib. */
const frameMax = 131_072

/** Messages that the consumer holds without having acknowledged them. */
const prefetch = 10

export class SimulatedBroker {
  faults: BrokerFaults
  /** First a queue that is bound to the exchange with `#` and has everything. */
  readonly #queue: Array<Queued> = []
  #unacknowledged: Array<Queued> = []
  readonly delivered: Array<Delivered> = []
  #hasIncomingQueue = false
  downUntil = 0
  /** It reads nothing and reports this to publishers. */
  blockedUntil = 0
  /** It reads nothing and reports nothing. */
  stalledUntil = 0
  #consuming = false
  readonly #connections = new Map<Machine, Connection>()
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace

  constructor(time: VirtualTime, random: Seeded, trace: Trace, faults: BrokerFaults) {
    this.#time = time
    this.#random = random
    this.#trace = trace
    this.faults = faults
  }

  /** Messages that the consumer does not have yet, or has not acknowledged. */
  get waiting(): number {
    return this.#queue.length + this.#unacknowledged.length
  }

  deleteQueue(): void {
    this.#hasIncomingQueue = false
  }

  /** The connection is lost, and no other can be made for a time. */
  cut(downFor: number): void {
    this.downUntil = Math.max(this.downUntil, this.#time.now + downFor)
    for (const connection of [...this.#connections.values()]) connection.lose()
  }

  /** It ends the connection of a process that does not answer. */
  giveUp(machine: Machine): void {
    this.#connections.get(machine)?.lose()
  }

  /** Its process is gone. Frames it has sent may still arrive. */
  forgetMachine(machine: Machine): void {
    this.#connections.get(machine)?.abandon()
    this.#connections.delete(machine)
  }

  /** The broker as one process sees it. */
  connect(machine: Machine): Context.Context<RabbitMq | TopologyGuard> {
    const waiters = new Set<(connection: ChannelModel) => void>()
    const open = () => {
      if (!machine.alive) return
      const { now } = this.#time
      const wait = Math.max(this.downUntil, this.stalledUntil) - now
      if (wait > 0) {
        this.#time.after(Math.min(wait, 5000) + this.delay(), open)
        return
      }
      const connection: Connection = new Connection(this, machine, () => {
        this.#connections.delete(machine)
        this.#time.after(200 + this.delay(), open)
      })
      this.#connections.set(machine, connection)
      machine.post(() => {
        const woken = [...waiters]
        waiters.clear()
        for (const wake of woken) wake(connection.model)
      })
    }
    this.#time.after(this.delay(), open)
    const isBlocked = () => this.#time.now < this.blockedUntil
    const usable = Effect.callback<ChannelModel>((resume) => {
      const wake = (connection: ChannelModel) => resume(Effect.succeed(connection))
      const connection = this.#connections.get(machine)
      if (connection !== undefined && !isBlocked()) return wake(connection.model)
      waiters.add(wake)
      return Effect.sync(() => waiters.delete(wake))
    })
    const since = "2026-01-01T00:00:00.000Z"
    return Context.make(
      RabbitMq,
      RabbitMq.of({
        state: Effect.sync(() =>
          isBlocked() ? { _tag: "Blocked", since, reason: "memory" } : { _tag: "Connected", since }
        ),
        changes: Stream.never,
        usable: (timeout) =>
          Effect.timeoutOrElse(usable, {
            duration: timeout,
            orElse: () => Effect.fail(BrokerUnavailable.of(isBlocked() ? "Blocked" : "Disconnected", "simulated"))
          })
      })
    ).pipe(
      Context.add(
        TopologyGuard,
        TopologyGuard.of({
          ensure: () =>
            Effect.delay(
              Effect.sync(() => {
                this.#hasIncomingQueue = true
              }),
              this.delay()
            ),
          last: Effect.succeed({ missing: [], problem: null, queues: [] })
        })
      )
    )
  }

  delay(): number {
    return 0.1 + this.#random.next() ** 4 * this.faults.latencyMax
  }

  get time(): VirtualTime {
    return this.#time
  }

  get random(): Seeded {
    return this.#random
  }

  trace(what: string): void {
    this.#trace.add(`broker: ${what}`)
  }

  /** The outcome of a publish: its queue has it, or none has. Returned: there is no such queue. */
  route({ body, exchange, routingKey }: Publish): "taken" | "returned" {
    if (exchange === "") return this.#hasIncomingQueue && routingKey === incomingQueue ? "taken" : "returned"
    const { deviceId, id, kind, seq } = JSON.parse(body) as Readonly<Record<"deviceId" | "id" | "kind" | "seq", string>>
    this.#trace.note(`broker has ${seq} ${kind}`)
    this.#queue.push({ delivery: { messageId: id, seq: Number(seq), kind, deviceId }, redelivered: false })
    this.#consume()
    return "taken"
  }

  #consume(): void {
    if (this.#consuming) return
    this.#consuming = true
    const next = () => {
      const message = this.#queue.shift()
      if (message === undefined) {
        this.#unacknowledged = []
        this.#consuming = false
        return
      }
      this.delivered.push({ ...message.delivery, redelivered: message.redelivered })
      message.redelivered = true
      this.#unacknowledged.push(message)
      if (this.#unacknowledged.length > prefetch) this.#unacknowledged.shift()
      if (this.#random.chance(this.faults.consumerCrash)) {
        this.trace(`consumer crashes with ${this.#unacknowledged.length} unacknowledged`)
        this.#queue.unshift(...this.#unacknowledged)
        this.#unacknowledged = []
        this.#time.after(this.#random.next() * 10_000, next)
      } else {
        this.#time.after(this.delay(), next)
      }
    }
    this.#time.after(this.delay(), next)
  }
}

/** One connection of one process. Its channels share the way to the broker, so their frames arrive in order. */
class Connection {
  readonly machine: Machine
  readonly broker: SimulatedBroker
  readonly #channels: Array<{ readonly channel: Channel; readonly buffer: Pick<Channel, "write"> } | null> = [null]
  readonly #onLost: () => void
  #open = true
  /** The broker reads no more of it. */
  #unread = false
  #arrivesAt = 0
  readonly #onItsWay: Array<() => void> = []

  constructor(broker: SimulatedBroker, machine: Machine, onLost: () => void) {
    this.broker = broker
    this.machine = machine
    this.#onLost = onLost
  }

  /** Implements only the parts of a connection that the sink uses. */
  get model(): ChannelModel {
    return { createConfirmChannel: () => this.#openChannel() } as unknown as ChannelModel
  }

  async #openChannel(): Promise<Channel> {
    if (!this.#open) throw new Error("the connection is closed")
    const ch = this.#channels.length
    const channel = new Channel(this, ch, this.#channels)
    this.#channels.push({ channel, buffer: channel })
    return channel
  }

  get open(): boolean {
    return this.#open
  }

  lose(): void {
    if (!this.#open) return
    this.#open = false
    this.broker.trace("connection lost")
    this.machine.postAfter(this.broker.delay(), () => {
      for (const slot of this.#channels) slot?.channel.lost()
    })
    this.#onLost()
  }

  /** Its process is gone. Frames it has sent may still arrive. */
  abandon(): void {
    this.#open = false
  }

  /**
   * Frames arrive in order, also those that arrive at one moment. Of the frames in flight on a lost connection, those up to
   * some point still arrive.
   */
  carry(arrive: () => void): void {
    const { blockedUntil, random, stalledUntil, time } = this.broker
    this.#arrivesAt = Math.max(this.#arrivesAt, time.now + this.broker.delay(), blockedUntil, stalledUntil)
    this.#onItsWay.push(arrive)
    time.after(this.#arrivesAt - time.now, () => {
      const next = this.#onItsWay.shift()!
      if (!this.#open && random.chance(0.5)) this.#unread = true
      if (!this.#unread) next()
    })
  }
}

class Channel extends EventEmitter {
  readonly ch: number
  /** The internals of amqplib that the sink uses. */
  readonly connection: { readonly frameMax: number; readonly channels: ReadonlyArray<unknown> }
  readonly #connection: Connection
  #callbacks: Array<(error: Error | null) => void> = []
  #written = 0
  #open = true

  constructor(connection: Connection, ch: number, channels: ReadonlyArray<unknown>) {
    super()
    this.#connection = connection
    this.ch = ch
    this.connection = { frameMax, channels }
  }

  pushConfirmCallback(callback: (error: Error | null) => void): void {
    this.#callbacks.push(callback)
  }

  write(frames: Buffer): boolean {
    const publishes = readPublishes(frames)
    const first = this.#written
    this.#written += publishes.length
    this.#connection.carry(() => this.#arrive(publishes, first))
    return true
  }

  async close(): Promise<void> {
    this.#open = false
  }

  lost(): void {
    if (!this.#open) return
    this.#open = false
    for (const callback of this.#callbacks.splice(0)) callback(new Error("the channel was lost"))
    this.emit("close")
  }

  #arrive(publishes: ReadonlyArray<Publish>, first: number): void {
    const { broker, machine } = this.#connection
    const { faults, random } = broker
    publishes.forEach((publish, index) => {
      const tell = (run: () => void) =>
        machine.postAfter(broker.delay(), () => {
          if (this.#open && this.#connection.open) run()
        })
      // A queue over its limit refuses; others have the message all the same.
      if (publish.exchange === "" && random.chance(faults.refusal)) {
        broker.trace("refuses a message")
        return tell(() => this.emit("nack", {}))
      }
      const outcome = broker.route(publish)
      if (outcome === "returned" && publish.mandatory) {
        broker.trace("returns a message")
        tell(() => this.emit("return", { fields: { routingKey: publish.routingKey } }))
      }
      if (random.chance(faults.confirmLost)) return broker.trace("loses a confirm")
      tell(() => this.#callbacks[first + index]?.(null))
    })
  }
}
