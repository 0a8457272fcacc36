/**
 * The processes of a simulated world: one alone, or the nodes of a cluster. They are killed, stopped and suspended; others
 * replace them.
 */
import type { Seeded } from "../../src/simulator/Seeded.ts"
import { stopMax } from "./SimulatedProcess.ts"
import type { SimulatedProcess } from "./SimulatedProcess.ts"
import { SimulatedShards } from "./SimulatedShards.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface NodesOptions {
  /** More than one is a cluster. */
  readonly count: number
  /** The parts that the nodes of a cluster share, each on one of them at a time. */
  readonly shards: ReadonlyArray<string>
  readonly start: (number: number, shards: SimulatedShards | null) => SimulatedProcess
  /** Everything that is connected to it sees it gone. */
  readonly forget: (machine: Machine) => void
  /** The same, while it is suspended. */
  readonly giveUp: (machine: Machine) => void
}

/** After this time others close a connection that does not answer. */
const patience = { least: 20_000, most: 30_000 }

/** A process that notices that another one has its devices is stopped by an operator within this time. */
const noticedWithin = 120_000

export class SimulatedNodes {
  lives = 0
  /** When the last life began. */
  begunAt = 0
  /** The process to which the reader of the stream is connected. */
  reader: SimulatedProcess | null = null
  readonly shards: SimulatedShards | null
  readonly #places: Array<SimulatedProcess | null>
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #options: NodesOptions

  constructor(
    options: NodesOptions,
    world: { readonly time: VirtualTime; readonly random: Seeded; readonly trace: Trace }
  ) {
    this.#options = options
    this.#time = world.time
    this.#random = world.random
    this.#trace = world.trace
    this.#places = Array.from({ length: options.count }, () => null)
    this.shards = options.count === 1 ? null : new SimulatedShards(options.shards, world, () => this.running)
  }

  /** Those that have neither taken another's place nor lost their own. */
  get running(): ReadonlyArray<SimulatedProcess> {
    return this.#places.filter((process) => process !== null)
  }

  /** One of those that run. */
  some(): SimulatedProcess | null {
    const { running } = this
    return running.length === 0 ? null : this.#random.pick(running)
  }

  begin(): void {
    for (const place of this.#places.keys()) this.#live(place)
  }

  #live(place: number): void {
    const number = ++this.lives
    this.begunAt = this.#time.now
    this.#trace.add(`life ${number} begins`)
    const process = this.#options.start(number, this.shards)
    this.#places[place] = process
    if (this.reader === null || !this.running.includes(this.reader)) this.reader = process
    this.shards?.joined()
  }

  /** It dies within some steps, and another life begins after a time. */
  kill(downFor: number): void {
    const process = this.some()
    if (process === null) return
    const steps = this.#random.chance(0.5) ? 0 : this.#random.between(1, 200)
    process.machine.kill(steps, () => this.#died(process, downFor))
  }

  stop(downFor: number): void {
    const process = this.some()
    if (process !== null) this.#stop(process, downFor)
  }

  #stop(process: SimulatedProcess, downFor: number): void {
    const { machine } = process
    this.#trace.add(`life ${process.number} stops`)
    process.stop(() => {
      this.shards?.released(process)
      machine.kill(0, () => this.#died(process, downFor))
    })
    this.#time.after(stopMax, () => machine.kill(0, () => this.#died(process, downFor)))
  }

  #died(process: SimulatedProcess, downFor: number): void {
    const { machine } = process
    this.#trace.add(`life ${process.number} is over`)
    this.#options.forget(machine)
    const place = this.#places.indexOf(process)
    // Another one has its place.
    if (place === -1) return
    this.#places[place] = null
    if (this.reader === process) this.reader = this.running[0] ?? null
    this.shards?.died(process)
    this.#time.after(downFor, () => {
      if (this.#places[place] === null) this.#live(place)
    })
  }

  /** One is suspended for a time. If that is long, its devices are given to another one. */
  freeze(millis: number): void {
    const process = this.some()
    if (process === null || process.machine.isFrozen) return
    const { machine } = process
    this.#trace.add(`life ${process.number} stands still for ${Math.round(millis / 1000)} s`)
    machine.freeze(millis)
    this.#time.after(patience.least + this.#random.next() * (patience.most - patience.least), () => {
      if (machine.isFrozen) this.#options.giveUp(machine)
    })
    if (this.shards !== null) return this.shards.stoodStill(process, millis)
    if (millis >= 10_000 && this.#random.chance(0.6)) this.#replace(process, millis)
  }

  /** The database has lost its connection, so its lease is free, and its supervisor starts another one. */
  #replace(process: SimulatedProcess, millis: number): void {
    const takenAt = this.#random.next() * millis
    this.#time.after(takenAt, () => {
      const place = this.#places.indexOf(process)
      if (place === -1 || !process.machine.alive) return
      this.#trace.add(`another process takes the place of life ${process.number}`)
      this.#places[place] = null
      this.#live(place)
      this.#time.after(millis - takenAt + this.#random.next() * 10_000, () => {
        process.loseLease()
        this.#time.after(this.#random.next() * noticedWithin, () => this.#stop(process, 0))
      })
    })
  }
}
