/**
 * One simulated world from beginning to end: events happen and faults strike for some hours; then all is healed, and the
 * program must come to rest by itself; then the ledgers are compared. Everything follows from the seed.
 */
import { Context, Effect } from "effect"
import { processKilled } from "../../src/actors/Supervision.ts"
import type { Gap } from "../../src/domain/Gap.ts"
import * as AesSecretSeal from "../../src/layers/secrets/AesSecretSeal.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { SecretSeal } from "../../src/services/SecretSeal.ts"
import { SubscriptionRepository } from "../../src/services/SubscriptionRepository.ts"
import type { StoredSubscription } from "../../src/services/SubscriptionRepository.ts"
import { seeded } from "../../src/simulator/Seeded.ts"
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Streamed } from "../support/Ledger.ts"
import { judge } from "./judge.ts"
import type { Judgement } from "./judge.ts"
import { describePlan, makePlan } from "./Plan.ts"
import type { Plan, Strike } from "./Plan.ts"
import { seededStrikes } from "./strikes.ts"
import { withSeededIds } from "./seededIds.ts"
import { SimulatedBroker } from "./SimulatedBroker.ts"
import { SimulatedDatabase } from "./SimulatedDatabase.ts"
import type { Snapshot } from "./SimulatedDatabase.ts"
import { SimulatedEndpoint } from "./SimulatedEndpoint.ts"
import { SimulatedGateway } from "./SimulatedGateway.ts"
import { SimulatedPhone } from "./SimulatedPhone.ts"
import { SimulatedNodes } from "./SimulatedNodes.ts"
import { secretKey, SimulatedProcess } from "./SimulatedProcess.ts"
import { partsShard } from "./SimulatedShards.ts"
import type { SimulatedShards } from "./SimulatedShards.ts"
import { Trace } from "./Trace.ts"
import { Machine, VirtualTime } from "./VirtualTime.ts"

export interface Outcome {
  readonly seed: string
  readonly plan: string
  /** Of all that happened. */
  readonly digest: string
  /** Its duration in the world's time, healing included. */
  readonly hours: number
  readonly steps: number
  readonly lives: number
  readonly judgement: Judgement
}

export interface SimulationOptions {
  /** How long faults strike. */
  readonly hours: number
  readonly show?: ((line: string) => void) | undefined
}

const hour = 3_600_000

/** After the last fault everything must have come to rest within this time: some regular readings of every history. */
const restMax = 4 * hour

/** Errors that the program logs because of the faults of these worlds, since a person must know of them. */
const expectedErrors =
  /^(The fleet stops: another process|The log (went back|lacks events that it had received): an older database|A subscription is disabled: its endpoint answered)/

/** How long the database may fail more often once a process has started. */
const shakyFor = 5000

/** The state that is compared to see whether all is at rest. */
const lookEvery = 30_000

export const simulate = (seed: string, options: SimulationOptions): Promise<Outcome> =>
  withSeededIds(seed, () => new Simulation(makePlan(seed), options).run())

export class Simulation {
  readonly plan: Plan
  readonly time: VirtualTime
  readonly random: Seeded
  readonly trace: Trace
  readonly database: SimulatedDatabase
  readonly broker: SimulatedBroker
  readonly gateways: ReadonlyArray<SimulatedGateway>
  readonly endpoints: ReadonlyArray<SimulatedEndpoint>
  readonly reading = { streamed: new Array<Streamed>(), from: 1 }
  readonly nodes: SimulatedNodes
  /** Texts of errors that the program logged, and defects that ended it. */
  readonly errors: Array<string> = []
  readonly #options: SimulationOptions
  /** Numbers of the log after which the subscriptions that were created later get events, by subscription. */
  readonly #begun = new Map<SimulatedEndpoint, number>()
  #striking = true
  #happening = true

  constructor(plan: Plan, options: SimulationOptions) {
    const { seed } = plan
    this.plan = plan
    this.#options = options
    this.time = new VirtualTime(seed, plan.shuffles)
    this.random = seeded(`${seed}/world`)
    this.trace = new Trace(this.time, options.show ?? null)
    this.database = new SimulatedDatabase(this.time, seeded(`${seed}/database`), this.trace, plan.database)
    this.broker = new SimulatedBroker(this.time, seeded(`${seed}/broker`), this.trace, plan.broker)
    let phones = 0
    this.gateways = plan.gateways.map(({ phones: count, shape }, index) => {
      const some = Array.from(
        { length: count },
        () => new SimulatedPhone(++phones, seeded(`${seed}/phone-${phones}`))
      )
      const world = { time: this.time, random: seeded(`${seed}/gateway-${index}`), trace: this.trace }
      return new SimulatedGateway(`gateway-${index + 1}`, shape, some, world, plan.gateway)
    })
    const ids = this.gateways.flatMap(({ phones }) => phones.map(({ deviceId }) => deviceId))
    this.endpoints = plan.endpoints.map(({ devices, ...shape }, index) => {
      const world = { time: this.time, random: seeded(`${seed}/endpoint-${index}`), trace: this.trace }
      const asked = devices === null ? null : ids.slice(0, devices)
      return new SimulatedEndpoint(index + 1, { ...shape, devices: asked }, world, plan.endpoint)
    })
    this.nodes = new SimulatedNodes({
      count: plan.nodes,
      shards: [...ids, partsShard],
      start: (number, shards) => this.#start(number, shards),
      forget: (machine) => {
        for (const part of [this.database, this.broker, ...this.gateways]) part.forgetMachine(machine)
      },
      giveUp: (machine) => {
        for (const part of [this.broker, ...this.gateways]) part.giveUp(machine)
      }
    }, { time: this.time, random: seeded(`${seed}/nodes`), trace: this.trace })
    for (const gateway of this.gateways) gateway.webhooks.fronts = () => this.nodes.running
    const histories = new Map(
      this.gateways.flatMap(({ phones, shape }) =>
        shape.history ? phones.map(({ deviceId, history }) => [deviceId, history] as const) : []
      )
    )
    this.database.watch.watch((device) => histories.get(device) ?? null)
  }

  async run(): Promise<Outcome> {
    const { time } = this
    await this.#insertDevices()
    for (const endpoint of this.endpoints) {
      // Some are created when there is a log already.
      if (endpoint.shape.from === "beginning") this.#subscribe(endpoint)
      else time.after(this.random.next() * hour / 2, () => this.#subscribe(endpoint))
    }
    this.nodes.begin()
    for (const gateway of this.gateways) for (const phone of gateway.phones) this.#chat(gateway, phone)
    for (const [strike, pause] of this.plan.pauses) this.#strike(strike, pause)
    const end = this.#options.hours * hour
    await time.runUntil(end)
    this.#striking = false
    this.#heal()
    await time.runUntil(end + 5 * 60_000)
    this.#happening = false
    const quietSince = time.now
    let lookAt = time.now
    const rested = await time.runUntil(time.now + restMax, () => {
      if (time.now < lookAt) return false
      lookAt = time.now + lookEvery
      this.#releaseDevices()
      return this.#unrest(quietSince).length === 0
    })
    const unrest = rested ? [] : this.#unrest(quietSince)
    const judgement = judge({
      emitted: this.gateways.flatMap(({ emitted }) => emitted),
      events: this.database.history,
      undone: this.database.undone,
      forgotten: this.database.forgotten,
      unjudged: this.database.unjudged,
      stale: this.database.watch.stale,
      premature: this.database.watch.premature,
      subscribers: this.endpoints.map((endpoint) => ({ endpoint, from: this.begunAfter(endpoint) })),
      delivered: this.broker.delivered,
      reading: this.reading,
      gaps: this.gaps(),
      phones: this.gateways.flatMap(({ phones, shape }) => phones.map((phone) => ({ phone, shape }))),
      unrest,
      errors: this.errors
    })
    this.trace.add(JSON.stringify(judgement.counts))
    return {
      seed: this.plan.seed,
      plan: describePlan(this.plan),
      digest: this.trace.digest,
      hours: time.now / hour,
      steps: time.steps,
      lives: this.nodes.lives,
      judgement
    }
  }

  /** Whether faults still strike. */
  get striking(): boolean {
    return this.#striking
  }

  /** The number after which a subscription gets events. */
  begunAfter(endpoint: SimulatedEndpoint): number {
    return this.#begun.get(endpoint) ?? 0
  }

  gaps(): ReadonlyArray<Gap> {
    const { pastGaps, tables } = this.database
    return [...new Map([...pastGaps, ...tables.gaps]).values()]
  }

  subscriptions(): ReadonlyArray<StoredSubscription> {
    return Effect.runSync(Effect.orDie(Context.get(this.database.direct, SubscriptionRepository).list))
  }

  async #insertDevices(): Promise<void> {
    const devices = Context.get(this.database.direct, DeviceRepository)
    for (const gateway of this.gateways) {
      for (const { deviceId: id, upstreamId } of gateway.phones) {
        await Effect.runPromise(devices.insert({ id, name: upstreamId, gateway: gateway.name, upstreamId }))
      }
    }
  }

  /** The row of a subscription, as an operator creates it, without waiting for an answer. */
  #subscribe(endpoint: SimulatedEndpoint): void {
    const { head, subscriptions } = this.database.tables
    if (subscriptions.has(endpoint.id)) return
    const { shape: { devices, from, kinds, rateLimit }, id, secret, url } = endpoint
    // Of several that were created for it after older copies took over, the latest start: any of them may be in the next copy.
    this.#begun.set(endpoint, Math.max(this.begunAfter(endpoint), from === "now" ? head : 0))
    const sealed = Effect.runSync(
      Effect.provide(
        Effect.flatMap(SecretSeal, ({ seal }) => seal(secret, { owner: id, field: "secret" })),
        AesSecretSeal.layer([secretKey])
      )
    )
    this.operate(({ insert }) =>
      insert({
        id,
        name: null,
        url,
        kinds,
        devices,
        headers: [],
        rateLimit,
        sealed: { secret: sealed, previousSecret: null, headers: null }
      }, from)
    )
  }

  /** An older copy of the database takes over. What it lacks is created again: later subscriptions. */
  fallBack(snapshot: Snapshot, downFor: number): void {
    const { database, endpoints, random, time } = this
    const made = endpoints.filter(({ id }) => database.tables.subscriptions.has(id))
    database.fallBack(snapshot, downFor)
    for (const endpoint of made) time.after(random.next() * hour / 6, () => this.#subscribe(endpoint))
  }

  /** Somebody changes subscriptions in the database itself; processes are notified, unless the notification is lost. */
  operate(change: (repository: SubscriptionRepository["Service"]) => Effect.Effect<unknown, unknown>): void {
    Effect.runSync(Effect.ignore(change(Context.get(this.database.direct, SubscriptionRepository))))
    if (this.random.chance(0.8)) this.database.tell(({ onSubscriptions }) => onSubscriptions())
  }

  /** A life of the program starts. */
  #start(number: number, shards: SimulatedShards | null): SimulatedProcess {
    const { show } = this.#options
    if (this.#striking && this.plan.database.failure > 0 && this.random.chance(0.2)) {
      this.database.shakyUntil = this.time.now + shakyFor
    }
    const machine = new Machine(this.time, {
      seed: `${this.plan.seed}/life-${number}`,
      wallError: 0,
      preempts: this.plan.preempts,
      onError: (message) => {
        // It logs an error if another process has its devices, which is correct.
        if (expectedErrors.test(message)) return
        this.trace.add(`error: ${message}`)
        this.errors.push(message)
      },
      onLog: show === undefined ? null : (level, message) => this.trace.note(`${number} ${level} ${message}`)
    })
    const { broker, database, endpoints, gateways, reading } = this
    const { retention, settings } = this.plan
    const isRead = (process: SimulatedProcess) => this.nodes.reader === process
    const world = { broker, database, endpoints, gateways, isRead, reading, retention, settings }
    return new SimulatedProcess(world, machine, number, shards)
  }

  /** Between two moments of this kind. */
  #pause(mean: number): number {
    return -Math.log(1 - this.random.next()) * mean
  }

  #chat(gateway: SimulatedGateway, phone: SimulatedPhone): void {
    // Now and then many come at once.
    const pause = this.random.chance(0.2) ? this.plan.eventPause / 20 : this.plan.eventPause
    this.time.after(this.#pause(pause), () => {
      if (!this.#happening) return
      gateway.emit(phone)
      this.#chat(gateway, phone)
    })
  }

  #strike(strike: Strike, mean: number): void {
    this.time.after(this.#pause(mean), () => {
      if (!this.#striking) return
      this.trace.add(`strike: ${strike}`)
      seededStrikes[strike](this)
      this.#strike(strike, mean)
    })
  }

  #heal(): void {
    this.trace.add("healed")
    const { broker, database } = this
    const { now } = this.time
    database.faults = { ...database.faults, failure: 0, latencyMax: 3 }
    database.downUntil = database.stalledUntil = now
    database.shakyUntil = now
    broker.faults = { refusal: 0, confirmLost: 0, consumerCrash: 0, latencyMax: 3 }
    broker.downUntil = broker.blockedUntil = broker.stalledUntil = now
    for (const gateway of this.gateways) gateway.heal()
    for (const endpoint of this.endpoints) {
      endpoint.heal()
      this.#subscribe(endpoint)
      this.operate(({ enable }) => enable(endpoint.id))
      this.operate(({ update }) => update(endpoint.id, { paused: false }))
    }
  }

  /** An operator releases devices that were blamed for the deaths of their processes: these were killed. */
  #releaseDevices(): void {
    if (!this.plan.pauses.has("kill")) return
    for (const { device: { id, state } } of this.database.tables.devices.values()) {
      if (state._tag !== "Quarantined" || state.reason.code !== processKilled) continue
      this.trace.add(`${id} is released`)
      Effect.runSync(Effect.ignore(Context.get(this.database.direct, DeviceRepository).requestRelease(id)))
      this.database.tell(({ onDevices }) => onDevices(id))
    }
  }

  /** What is not yet in its final state at the end. */
  #unrest(quietSince: number): ReadonlyArray<string> {
    const found: Array<string> = []
    const { tables } = this.database
    // It takes some time until a new process has recorded what was missed before it.
    if (this.nodes.running.length === 0 || this.time.now < this.nodes.begunAt + 60_000) {
      found.push("no process has run for a minute")
    }
    const since = new Date(this.time.wall - this.time.now + quietSince + 60_000).toISOString()
    for (const gateway of this.gateways) {
      for (const { deviceId, upstreamId } of gateway.phones) {
        const row = tables.devices.get(deviceId)
        if (row?.device.state._tag !== "Online") found.push(`${upstreamId} is ${row?.device.state._tag}`)
        const read = tables.watermarks.get(deviceId)?.through ?? ""
        if (gateway.shape.history && read < since) found.push(`${upstreamId} was read through ${read}`)
      }
    }
    for (const { cause, deviceId, status } of tables.gaps.values()) {
      if (status === "open") found.push(`a gap of ${deviceId} is open: ${cause}`)
    }
    for (const { confirmed, subscription: { health, id, state } } of this.subscriptions()) {
      if (state !== "active") found.push(`${id} is ${state}`)
      if (confirmed !== tables.head) found.push(`the cursor of ${id} is at ${confirmed} of ${tables.head}`)
      if (health.held.length > 0 || health.failing !== null) found.push(`${id} is failing: ${JSON.stringify(health)}`)
    }
    const cursor = tables.cursors.get("rabbitmq")?.seq ?? 0
    if (cursor !== tables.head) found.push(`the broker's cursor is at ${cursor} of ${tables.head}`)
    if (this.broker.waiting > 0) found.push(`${this.broker.waiting} messages wait at the broker`)
    const streamed = this.reading.streamed.at(-1)?.seq ?? 0
    if (streamed !== tables.head) found.push(`the reader of the stream is at ${streamed} of ${tables.head}`)
    return found
  }
}
