/**
 * Several processes that share one fleet, over a Postgres and a broker of their tests, and a simulated gateway that is the
 * witness of which sockets each device had, and when.
 */
import { Effect } from "effect"
import type { Scope } from "effect"
import type { SimulatedDevice } from "../../../src/simulator/SimulatedDevice.ts"
import type { SimulatorCore } from "../../../src/simulator/SimulatorCore.ts"
import { start as startSimulator } from "../../../src/simulator/SimulatedGateway.ts"
import type { Gap } from "../../../src/domain/Gap.ts"
import { check } from "../../support/Checker.ts"
import type { Verdict } from "../../support/Checker.ts"
import { freshDirectory } from "../../support/directory.ts"
import { checkGaps } from "../../support/GapChecker.ts"
import type { GapVerdict } from "../../support/GapChecker.ts"
import { readLog, toEmitted } from "../../support/Ledger.ts"
import { until } from "../../support/until.ts"
import * as ClusterNode from "./clusterNode.ts"
import type * as ColumbaProcess from "./ColumbaProcess.ts"
import * as Recorder from "./Recorder.ts"
import { addDevices, makeWitness, readEvents, readGaps } from "./viaApi.ts"

export type { ClusterNode } from "./clusterNode.ts"
export { secretKey } from "./clusterNode.ts"

/** The gateway's record of the sockets of all devices. Milliseconds of the monotonic clock. */
export interface SocketWitness {
  /** The number of devices with a socket now. */
  readonly connected: () => number
  /** Sockets that have closed since the start. */
  readonly closed: () => number
  /** Since then: the longest time for which one device had two sockets, those devices, and the maximum at a time. */
  readonly overlaps: (
    since?: number
  ) => { readonly longest: number; readonly devices: ReadonlySet<string>; readonly most: number }
  /** The times for which devices had no socket after they had one, of those that began since then; shortest first. */
  readonly dark: (since: number) => ReadonlyArray<number>
}

export interface ClusterRig {
  readonly nodes: ReadonlyArray<ClusterNode.ClusterNode>
  readonly simulator: SimulatorCore
  readonly sockets: SocketWitness
  /** Columba's ids of the devices. */
  readonly devices: ReadonlyArray<string>
  /** The gateway's name of each. */
  readonly upstreamOf: ReadonlyMap<string, string>
  /** Returns when every device has a socket. */
  readonly online: Effect.Effect<void>
  /** Returns when every node that runs has a share of the devices. */
  readonly shared: Effect.Effect<void>
  /** Returns when every device has exactly one socket: no hand-over is under way. */
  readonly still: Effect.Effect<void>
  /** The rules by which each device changed its state, in the order of the log. */
  readonly rules: Effect.Effect<ReadonlyMap<string, ReadonlyArray<string>>>
  /** Devices that each node runs, in the order of `nodes`. Null: it does not run. */
  readonly spread: Effect.Effect<ReadonlyArray<number | null>>
  /** Returns when this many events were emitted since the start. */
  readonly emitted: (count: number) => Effect.Effect<void>
  /** Keeps the events that are committed now. They must never be missing later. */
  readonly witness: (node: ClusterNode.ClusterNode) => Effect.Effect<void>
  /** Returns when all sent events are in the log, and the broker has delivered all events of the log. */
  readonly settled: Effect.Effect<void>
  /** Stops all nodes in order and checks the ledgers. */
  readonly finish: Effect.Effect<{
    readonly verdict: Verdict
    readonly gaps: ReadonlyArray<Gap>
    readonly gapVerdict: GapVerdict
    readonly exits: ReadonlyArray<ColumbaProcess.Exited>
  }>
}

/**
 * On a busy machine nodes may lose their leases several times within a minute. Their devices then wait for their trial
 * (`src/actors/fleet/Suspects.ts`), up to 160 s for all of them.
 */
const trialsMax = "6 minutes"

const auth = { user: "columba", password: "gateway-password" }

export const make = Effect.fnUntraced(function*(options: {
  readonly databaseUrl: string
  readonly rabbitUrl: string
  readonly devices: number
  readonly nodes: number
  readonly seed: string
  /** The time for which a killed node keeps its devices. */
  readonly lease: string
  /** Instead of `databaseUrl`, for the last node. */
  readonly lastDatabaseUrl?: string
  /** Seconds by which the last node's wall clock is ahead of the others'. */
  readonly lastClockAhead?: number
  /** The `main.js` of each node, if another than the one just built. */
  readonly programs?: ReadonlyArray<string | undefined>
  /** In addition to what every node needs. */
  readonly env?: Readonly<Record<string, string>>
  /** Nodes that are started by the test. */
  readonly idle?: number
}): Effect.fn.Return<ClusterRig, never, Scope.Scope> {
  const { databaseUrl, rabbitUrl, seed } = options
  const { core: simulator, url } = yield* Effect.orDie(startSimulator({ seed, auth }))
  simulator.addDevices(options.devices, "slot-")
  const sockets = watchSockets([...simulator.devices.values()])
  const recorder = yield* Recorder.make(rabbitUrl, yield* freshDirectory)
  const makeNode = (nodeDatabaseUrl: string, program: string | undefined, clockAhead: number) =>
    ClusterNode.make({
      program,
      clockAhead,
      lease: options.lease,
      env: {
        DATABASE_URL: nodeDatabaseUrl,
        RABBITMQ_URL: rabbitUrl,
        WHATSAPP_API_URL: url,
        WHATSAPP_API_USER: auth.user,
        WHATSAPP_API_PASSWORD: auth.password,
        ...options.env
      }
    })
  const nodes: Array<ClusterNode.ClusterNode> = []
  for (let index = 0; index < options.nodes; index++) {
    const program = options.programs?.[index]
    nodes.push(
      yield* index < options.nodes - 1
        ? makeNode(databaseUrl, program, 0)
        : makeNode(options.lastDatabaseUrl ?? databaseUrl, program, options.lastClockAhead ?? 0)
    )
  }
  const [first] = nodes as [ClusterNode.ClusterNode]
  yield* first.start
  yield* Effect.forEach(nodes.slice(1, nodes.length - (options.idle ?? 0)), ({ start }) => start, {
    concurrency: "unbounded"
  })
  const upstreamOf = yield* addDevices(first, options.devices)
  const witness = makeWitness()

  const online = until(
    "every device has a socket",
    Effect.sync(() => sockets.connected() === options.devices),
    trialsMax
  )
  const anyNode = Effect.gen(function*() {
    for (const node of nodes) if (yield* node.running) return node
    return yield* Effect.die(new Error("no node runs"))
  })
  const delivered = Effect.gen(function*() {
    const { items } = yield* readEvents(yield* anyNode, yield* recorder.highest, 1)
    return items.length === 0
  })
  const settled = Effect.gen(function*() {
    for (const node of nodes) {
      if (!(yield* node.running)) continue
      yield* until(
        "the log has written everything",
        Effect.map(node.metric("columba_log_queue_events"), (count) => count === 0)
      )
    }
    yield* until("the broker has given out the whole log", delivered)
  })
  const spread: ClusterRig["spread"] = Effect.forEach(
    nodes,
    (node) =>
      Effect.flatMap(
        node.running,
        (running) => running ? node.metric(`columba_devices{state="Online"}`) : Effect.succeed(null)
      )
  )
  return {
    nodes,
    simulator,
    sockets,
    devices: [...upstreamOf.keys()],
    upstreamOf,
    online,
    spread,
    shared: until(
      "every node runs a share of the devices",
      Effect.map(spread, (counts) =>
        counts.every((count) => count === null || count >= options.devices / 10) &&
        counts.reduce<number>((sum, count) => sum + (count ?? 0), 0) === options.devices),
      trialsMax
    ),
    still: until(
      "every device has one socket",
      Effect.sync(() => [...simulator.devices.values()].every(({ sockets }) => sockets.size === 1)),
      trialsMax
    ),
    rules: Effect.map(readLog(databaseUrl), (rows) => {
      const rules = new Map<string, Array<string>>()
      for (const { data, deviceId, kind } of rows) {
        if (kind !== "device.state") continue
        const steps = (data["steps"] ?? []) as ReadonlyArray<{ readonly rule: string }>
        const told = rules.get(deviceId) ?? []
        told.push(...steps.map(({ rule }) => rule), String(data["rule"]))
        rules.set(deviceId, told)
      }
      return rules
    }),
    emitted: (count) => until(`${count} events were emitted`, Effect.sync(() => simulator.ledger.count >= count)),
    witness: witness.lookAt,
    settled,
    finish: Effect.gen(function*() {
      const gaps = yield* readGaps(yield* anyNode)
      const running = yield* Effect.filter(nodes, ({ running }) => running)
      const exits = yield* Effect.forEach(running, (node, index) =>
        // The last one delivers its last events, if the relay has come to them by then.
        Effect.andThen(
          index === running.length - 1 ? until("the last node relays", relays(node)) : Effect.void,
          node.terminate
        ))
      yield* recorder.drained
      const emitted = simulator.ledger.entries().map(toEmitted)
      const committed = yield* readLog(databaseUrl)
      return {
        exits,
        gaps,
        gapVerdict: checkGaps({ emitted, committed, gaps, upstreamOf }),
        verdict: check({
          emitted,
          committed,
          delivered: yield* recorder.entries,
          streamed: null,
          witnessed: witness.events.map(({ id }) => id),
          upstreamOf,
          // Each socket of a device gets its events.
          sentTwice: sockets.overlaps().devices.size > 0
        })
      }
    })
  }
})

const relays = (node: ClusterNode.ClusterNode) =>
  Effect.map(
    node.get<{ readonly sinks: ReadonlyArray<{ readonly state: string }> }>("/api/v1/server/overview"),
    ({ sinks }) => sinks.some(({ state }) => state === "running")
  )

interface SeenInterval {
  readonly device: string
  readonly from: number
  /** Of sockets, at a time. */
  most: number
  /** Null while it lasts. */
  to: number | null
}

const watchSockets = (devices: ReadonlyArray<SimulatedDevice>): SocketWitness => {
  const doubles: Array<SeenInterval> = []
  const darks: Array<SeenInterval> = []
  let closed = 0
  for (const { id, sockets } of devices) {
    let double: SeenInterval | null = null
    let dark: SeenInterval | null = null
    const begin = (all: Array<SeenInterval>): SeenInterval => {
      const interval = { device: id, from: performance.now(), most: sockets.size, to: null }
      all.push(interval)
      return interval
    }
    const add = sockets.add.bind(sockets)
    sockets.add = (socket) => {
      add(socket)
      if (dark !== null) dark.to = performance.now()
      dark = null
      if (sockets.size >= 2) {
        double ??= begin(doubles)
        double.most = Math.max(double.most, sockets.size)
      }
      socket.once("close", () => {
        closed++
        // It is still counted.
        if (sockets.size === 2 && double !== null) {
          double.to = performance.now()
          double = null
        }
        if (sockets.size === 1) dark = begin(darks)
      })
      return sockets
    }
  }
  const length = ({ from, to }: SeenInterval) => (to ?? performance.now()) - from
  return {
    connected: () => devices.filter(({ sockets }) => sockets.size > 0).length,
    closed: () => closed,
    overlaps: (since = 0) => {
      const some = doubles.filter(({ from }) => from >= since)
      return {
        longest: Math.max(0, ...some.map(length)),
        devices: new Set(some.map(({ device }) => device)),
        most: Math.max(1, ...some.map(({ most }) => most))
      }
    },
    dark: (since) => darks.filter(({ from }) => from >= since).map(length).toSorted((one, other) => one - other)
  }
}
