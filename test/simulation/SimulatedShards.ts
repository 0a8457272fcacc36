/**
 * Which node of a simulated cluster has which device, as the sharding of Effect decides it: each shard (here: each device,
 * and the parts that run once) belongs to one node at a time by a lease in the database. A node releases a shard only after
 * it has stopped what runs for it; the lease of a dead or suspended node ends by itself, which a suspended node notices once
 * it runs again.
 */
import type { Seeded } from "../../src/simulator/Seeded.ts"
import type { Trace } from "./Trace.ts"
import type { Machine, VirtualTime } from "./VirtualTime.ts"

export interface ShardHolder {
  readonly number: number
  readonly machine: Machine
  /** The shards that it believes to have. */
  readonly owned: ReadonlySet<string>
  readonly gain: (shard: string) => void
  /** `done`: everything that ran for the shard has stopped. */
  readonly lose: (shard: string, done: () => void) => void
}

/** The shard of the parts that run on one node at a time. */
export const partsShard = "parts"

/** After this time without a sign of life the leases of a node are given to others. */
export const lockExpiration = 35_000

/** The interval at which nodes look at their leases. */
const refreshInterval = 10_000

/** A shard without a node finds one within this time. */
const assignedWithin = 3000

export class SimulatedShards {
  readonly #owners: Map<string, ShardHolder | null>
  readonly #moving = new Set<string>()
  readonly #time: VirtualTime
  readonly #random: Seeded
  readonly #trace: Trace
  readonly #running: () => ReadonlyArray<ShardHolder>

  constructor(
    shards: ReadonlyArray<string>,
    world: { readonly time: VirtualTime; readonly random: Seeded; readonly trace: Trace },
    running: () => ReadonlyArray<ShardHolder>
  ) {
    this.#owners = new Map(shards.map((shard) => [shard, null]))
    this.#time = world.time
    this.#random = world.random
    this.#trace = world.trace
    this.#running = running
  }

  ownerOf(shard: string): ShardHolder | null {
    return this.#owners.get(shard) ?? null
  }

  /** A node has begun. */
  joined(): void {
    for (const [shard, owner] of this.#owners) if (owner === null) this.#assign(shard)
  }

  #assign(shard: string): void {
    this.#time.after(this.#random.next() * assignedWithin, () => {
      if (this.#owners.get(shard) !== null) return
      const able = this.#running().filter(({ machine }) => machine.alive && !machine.isFrozen)
      // Retried once a node joins, or a suspended one runs again.
      if (able.length === 0) return
      const node = this.#random.pick(able)
      this.#trace.add(`life ${node.number} gets ${shard}`)
      this.#owners.set(shard, node)
      node.gain(shard)
    })
  }

  /** The shards are rebalanced: one of them moves. */
  move(): void {
    const shard = this.#random.pick([...this.#owners.keys()])
    const owner = this.ownerOf(shard)
    if (owner === null || this.#moving.has(shard)) return
    this.#moving.add(shard)
    this.#trace.add(`life ${owner.number} gives ${shard} away`)
    owner.lose(shard, () => {
      this.#moving.delete(shard)
      if (this.ownerOf(shard) === owner) this.#free(shard)
    })
  }

  /** It has stopped in order. */
  released(node: ShardHolder): void {
    for (const [shard, owner] of this.#owners) if (owner === node) this.#free(shard)
  }

  died(node: ShardHolder): void {
    this.#time.after(lockExpiration, () => this.released(node))
  }

  stoodStill(node: ShardHolder, millis: number): void {
    this.#time.after(millis + this.#random.next() * refreshInterval, () => {
      for (const shard of node.owned) if (this.ownerOf(shard) !== node) node.lose(shard, () => {})
      this.joined()
    })
    if (millis <= lockExpiration) return
    this.#time.after(lockExpiration, () => {
      if (node.machine.isFrozen) this.released(node)
    })
  }

  #free(shard: string): void {
    this.#moving.delete(shard)
    this.#owners.set(shard, null)
    this.#assign(shard)
  }
}
