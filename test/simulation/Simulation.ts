/**
 * One simulated world from beginning to end: things happen and faults strike for some hours; then all is healed, and the
 * program must come to rest by itself; then the ledgers are compared. Everything follows from the seed.
 */
import { Context, Effect } from "effect"
import type { Gap } from "../../src/domain/Gap.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
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
import { SimulatedGateway } from "./SimulatedGateway.ts"
import { SimulatedPhone } from "./SimulatedPhone.ts"
import { SimulatedProcess, stopMax } from "./SimulatedProcess.ts"
import { Trace } from "./Trace.ts"
import { Machine, VirtualTime } from "./VirtualTime.ts"

export interface Outcome {
  readonly seed: string
  readonly plan: string
  /** Of all that happened. */
  readonly digest: string
  /** How long it was in the world, healing included. */
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

/** What is looked at to see whether all is at rest. */
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
  readonly streamed: Array<Streamed> = []
  process: SimulatedProcess | null = null
  /** Words of errors that the program logged, and defects that ended it. */
  readonly errors: Array<string> = []
  readonly #options: SimulationOptions
  #lives = 0
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
  }

  async run(): Promise<Outcome> {
    const { time } = this
    await this.#insertDevices()
    this.#live()
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
      return this.#unrest(quietSince).length === 0
    })
    const unrest = rested ? [] : this.#unrest(quietSince)
    const judgement = judge({
      emitted: this.gateways.flatMap(({ emitted }) => emitted),
      events: this.database.tables.events,
      delivered: this.broker.delivered,
      streamed: this.streamed,
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
      lives: this.#lives,
      judgement
    }
  }

  gaps(): ReadonlyArray<Gap> {
    return [...this.database.tables.gaps.values()]
  }

  async #insertDevices(): Promise<void> {
    const devices = Context.get(this.database.direct, DeviceRepository)
    for (const gateway of this.gateways) {
      for (const { deviceId: id, upstreamId } of gateway.phones) {
        await Effect.runPromise(devices.insert({ id, name: upstreamId, gateway: gateway.name, upstreamId }))
      }
    }
  }

  /** A life of the program begins. */
  #live(): void {
    const number = ++this.#lives
    const { show } = this.#options
    const machine = new Machine(this.time, {
      seed: `${this.plan.seed}/life-${number}`,
      wallError: 0,
      preempts: this.plan.preempts,
      onError: (message) => {
        this.trace.add(`error: ${message}`)
        this.errors.push(message)
      },
      onLog: show === undefined ? null : (level, message) => this.trace.note(`${level} ${message}`)
    })
    this.trace.add(`life ${number} begins`)
    const { broker, database, gateways, streamed } = this
    const { settings } = this.plan
    this.process = new SimulatedProcess({ broker, database, gateways, settings, streamed }, machine, number)
    for (const gateway of this.gateways) gateway.front = this.process
  }

  /** It dies within some steps, and another life begins after a time. */
  kill(downFor: number): void {
    const { process } = this
    if (process === null) return
    process.machine.kill(this.random.chance(0.5) ? 0 : this.random.between(1, 200), () => this.#died(process, downFor))
  }

  stop(downFor: number): void {
    const { process } = this
    if (process === null) return
    const { machine } = process
    this.trace.add("stops")
    process.stop(() => machine.kill(0, () => this.#died(process, downFor)))
    this.time.after(stopMax, () => machine.kill(0, () => this.#died(process, downFor)))
  }

  #died(process: SimulatedProcess, downFor: number): void {
    if (this.process !== process) return
    this.trace.add("dead")
    this.process = null
    for (const gateway of this.gateways) {
      gateway.front = null
      gateway.forgetMachine(process.machine)
    }
    this.broker.forgetMachine(process.machine)
    this.time.after(downFor, () => {
      if (this.process === null) this.#live()
    })
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
    broker.faults = { refusal: 0, confirmLost: 0, consumerCrash: 0, latencyMax: 3 }
    broker.downUntil = broker.blockedUntil = broker.stalledUntil = now
    for (const gateway of this.gateways) gateway.heal()
  }

  /** What is not yet as it must be at the end. */
  #unrest(quietSince: number): ReadonlyArray<string> {
    const found: Array<string> = []
    const { tables } = this.database
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
    const cursor = tables.cursors.get("rabbitmq")?.seq ?? 0
    if (cursor !== tables.head) found.push(`the broker's cursor is at ${cursor} of ${tables.head}`)
    if (this.broker.waiting > 0) found.push(`${this.broker.waiting} messages wait at the broker`)
    const streamed = this.streamed.at(-1)?.seq ?? 0
    if (streamed !== tables.head) found.push(`the reader of the stream is at ${streamed} of ${tables.head}`)
    return found
  }
}
