/**
 * The nodes of a row: several processes over one database, each with its own address at the gateway and its own connection
 * to the database, behind a load balancer. Requests to "the program" go to the balancer.
 */
import { Effect, Schedule } from "effect"
import type { Scope } from "effect"
import type { SocketChange } from "../../src/simulator/SocketRecord.ts"
import { until } from "../../test/support/until.ts"
import * as ClusterNode from "../../test/process/support/clusterNode.ts"
import * as ColumbaProcess from "../../test/process/support/ColumbaProcess.ts"
import * as Balancer from "../parties/Balancer.ts"
import type { SimulatorProcess } from "../parties/SimulatorProcess.ts"
import type { ClusterSettings, Fault } from "../Scenario.ts"
import type { Pause } from "../witness.ts"
import * as FenceAudit from "./FenceAudit.ts"
import * as NodeLink from "./NodeLink.ts"
import * as SocketWitness from "./SocketWitness.ts"

export interface Node extends ClusterNode.ClusterNode, NodeLink.NodeLink {
  /** The address of the node's connections at the gateway. */
  readonly at: string
}

/** One fault at one node. Times are milliseconds since the epoch. */
export interface Repetition {
  readonly fault: Fault["do"]
  readonly at: string
  readonly struckAt: number
  /** Time at which the others have its devices, where they should; the fault ends now. */
  readonly healedAt: number
  /** Time at which every node has its share again. */
  readonly endedAt: number
}

/** The current places of the devices. */
export interface Spread {
  /** Keyed by the address of the node. */
  readonly counts: ReadonlyMap<string, number>
  /** Devices that no node holds. */
  readonly missing: ReadonlyArray<string>
  /** How many have more than one socket. */
  readonly twice: number
}

export interface Cluster {
  readonly settings: ClusterSettings
  readonly nodes: ReadonlyArray<Node>
  /** All nodes, as one program behind the balancer. */
  readonly program: ColumbaProcess.ColumbaProcess
  /** As if this node had no sockets, where one is named. */
  readonly spread: (without: Node | null) => Effect.Effect<Spread>
  /** Every node has its share, and every device one socket. */
  readonly shared: Effect.Effect<boolean>
  /** All that the gateway has recorded of its sockets. */
  readonly changes: Effect.Effect<ReadonlyArray<SocketChange>>
  readonly audit: Effect.Effect<FenceAudit.Audit>
  readonly pauses: Array<Pause>
  readonly repetitions: Array<Repetition>
  /** Devices that were not back in time, with what was known of each. */
  readonly unreturned: Array<string>
}

export const make = Effect.fnUntraced(function*(options: {
  readonly settings: ClusterSettings
  readonly databaseUrl: string
  readonly simulator: SimulatorProcess
  readonly devices: number
  /** Whether the gateway has a socket for each device, or posts its events. */
  readonly bySocket: boolean
  readonly program: string
  /** What all nodes have in common. */
  readonly env: Readonly<Record<string, string>>
}): Effect.fn.Return<Cluster, never, Scope.Scope> {
  const { bySocket, databaseUrl, devices, env, program, settings, simulator } = options
  const balancer = yield* Balancer.make
  const nodes = yield* Effect.forEach(
    Array.from({ length: settings.nodes }, (_, index) => index),
    Effect.fnUntraced(function*(index) {
      const at = `127.0.0.${index + 2}`
      const link = yield* settings.partition === "packets"
        ? NodeLink.byPackets(databaseUrl, index)
        : NodeLink.byProxy(databaseUrl)
      const node = yield* ClusterNode.make({
        program,
        lease: settings.lease,
        env: {
          ...env,
          DATABASE_URL: link.databaseUrl,
          COLUMBA_FAULTS_GATEWAY: at,
          ...(bySocket ? undefined : { COLUMBA_PUBLIC_URL: balancer.url })
        }
      })
      const made = { ...node, ...link, at }
      balancer.add(made)
      return made
    })
  )
  const [first] = nodes as [Node]
  const answering = () => nodes.filter((node) => balancer.answering().includes(node))
  const running = Effect.filter(nodes, ({ running }) => running)
  const each = <A>(ask: (node: Node) => Effect.Effect<A>) => Effect.suspend(() => Effect.forEach(answering(), ask))
  const sum = (numbers: ReadonlyArray<number>) => numbers.reduce((one, other) => one + other, 0)
  let audit: Cluster["audit"] = Effect.die(new Error("no node was started"))

  const asking = ColumbaProcess.asking(balancer.url)
  const witness = SocketWitness.make(simulator)
  const bySockets = (without: Node | null) =>
    Effect.map(witness.held, (held): Spread => {
      const counts = new Map(nodes.map(({ at }) => [at, 0]))
      const missing: Array<string> = []
      let twice = 0
      for (let slot = 1; slot <= devices; slot++) {
        const at = (held.get(`slot-${slot}`) ?? []).filter((one) => one !== without?.at)
        for (const one of at) counts.set(one, (counts.get(one) ?? 0) + 1)
        if (at.length === 0) missing.push(`slot-${slot}`)
        if (at.length > 1) twice++
      }
      return { counts, missing, twice }
    })
  /** By what the nodes say: the gateway has one connection for all devices of a node. */
  const byNodes = Effect.fnUntraced(function*(without: Node | null) {
    const counts = new Map(nodes.map(({ at }) => [at, 0]))
    for (const node of answering()) {
      if (node !== without) counts.set(node.at, yield* node.metric(`columba_devices{state="Online"}`))
    }
    const missing = Math.max(0, devices - sum([...counts.values()]))
    return { counts, missing: Array.from({ length: missing }, () => "a device"), twice: 0 }
  })
  const spread = bySocket ? bySockets : byNodes

  return {
    settings,
    nodes,
    program: {
      ...first,
      ...asking,
      get: (path) => again(asking.get(path)),
      start: Effect.gen(function*() {
        // The first one migrates the database.
        yield* first.start
        audit = yield* FenceAudit.make(databaseUrl)
        yield* Effect.forEach(nodes.slice(1), ({ start }) => start, { concurrency: "unbounded", discard: true })
        yield* until("all nodes answer", Effect.sync(() => answering().length === nodes.length))
      }),
      terminate: Effect.gen(function*() {
        const exits = yield* Effect.forEach(yield* running, ({ terminate }) => terminate, { concurrency: "unbounded" })
        return exits.find(({ code }) => code !== 0) ?? exits[0] ?? { code: null, signal: null, millis: 0 }
      }),
      running: Effect.map(running, (some) => some.length === nodes.length),
      metric: (name) => Effect.map(each(({ metric }) => metric(name)), sum),
      residentMegabytes: Effect.map(each(({ residentMegabytes }) => residentMegabytes), (all) => Math.max(0, ...all)),
      openFiles: Effect.map(each(({ openFiles }) => openFiles), sum)
    },
    spread,
    shared: Effect.map(spread(null), ({ counts, missing, twice }) =>
      missing.length === 0 && twice === 0 &&
      [...counts.values()].every((count) => count >= devices / (nodes.length * leastShare))),
    changes: Effect.map(witness.held, () => witness.changes),
    audit: Effect.suspend(() => audit),
    pauses: [],
    repetitions: [],
    unreturned: []
  }
})

/** The balancer has cut the connection, or knows no node that answers: asked again, as a client does. */
const again = <A>(ask: Effect.Effect<A>): Effect.Effect<A> =>
  ask.pipe(Effect.sandbox, Effect.retry({ schedule: Schedule.spaced("500 millis"), times: 60 }), Effect.orDie)

/** What a node has must be no less than its share divided by this: shards are even, and few devices fall into them by chance. */
const leastShare = 3
