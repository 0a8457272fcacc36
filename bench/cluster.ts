/**
 * Nodes that share a fleet, with real sockets: `node bench/cluster.ts [--devices 10000] [--nodes 3] [--rate 200] [--burst 20000]
 * [--seconds 20] [--lease "20 seconds"]`.
 *
 * All nodes start; one is killed and starts again; one is stopped in order. A steady rate of events continues meanwhile. Then
 * `--burst` events per second are offered for a while: the committed part of them is what the machine can do, and the shares of
 * CPU show what limits it. Prints one line of JSON; times in seconds, memory in MiB, CPU in cores. The simulated gateway is in this
 * process, and its sockets are the evidence. It needs 2 open files per device; the figures are meaningful only on a machine without
 * other work. For events/s with 1, 2 and 3 nodes call it with each number and `--devices 1000`.
 */
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { buildProgram, isProgramCurrent } from "../scripts/build.ts"
import { start as startSimulator } from "../src/simulator/SimulatedGateway.ts"
import * as ColumbaProcess from "../test/process/support/ColumbaProcess.ts"
import { addDevices } from "../test/process/support/viaApi.ts"
import { freshDirectory } from "../test/support/directory.ts"
import { freePort } from "../test/support/servers/ServerHome.ts"
import { until } from "../test/support/until.ts"
import { cpuMicros, requireSockets } from "./support/processes.ts"
import { progress } from "./support/report.ts"
import { startServers } from "./support/servers.ts"

const { values } = parseArgs({
  options: {
    devices: { type: "string", default: "10000" },
    nodes: { type: "string", default: "3" },
    rate: { type: "string", default: "200" },
    burst: { type: "string", default: "20000" },
    seconds: { type: "string", default: "20" },
    lease: { type: "string", default: "20 seconds" }
  }
})
const [devices, nodes, rate, burst, seconds] = [
  Number(values.devices),
  Number(values.nodes),
  Number(values.rate),
  Number(values.burst),
  Number(values.seconds)
]

/** For a loaded machine; the figure itself is printed. */
const patience = "10 minutes"

const timed = (effect: Effect.Effect<void>) =>
  Effect.suspend(() => {
    const from = performance.now()
    return Effect.map(effect, () => Math.round((performance.now() - from) / 100) / 10)
  })

requireSockets(devices + 500)
const servers = await startServers({ broker: false })

const main = Effect.gen(function*() {
  if (!isProgramCurrent()) yield* Effect.promise(() => buildProgram())
  const databaseUrl = yield* Effect.promise(servers.freshDatabase)
  const { core, url } = yield* Effect.orDie(startSimulator({ seed: "cluster bench" }))
  core.addDevices(devices, "slot-")
  const all: Array<ColumbaProcess.ColumbaProcess> = []
  for (let index = 0; index < nodes; index++) {
    all.push(
      yield* ColumbaProcess.make({
        directory: yield* freshDirectory,
        env: {
          DATABASE_URL: databaseUrl,
          WHATSAPP_API_URL: url,
          COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
          COLUMBA_CLUSTER: "on",
          COLUMBA_NODE_PORT: String(yield* freePort),
          COLUMBA_CLUSTER_LEASE: values.lease
        }
      })
    )
  }
  const [first] = all as [ColumbaProcess.ColumbaProcess]
  const last = all.at(-1)!
  progress(`${nodes} nodes, ${devices} devices`)
  yield* first.start
  yield* addDevices(first, devices)
  yield* first.terminate

  const connected = () => [...core.devices.values()].filter(({ sockets }) => sockets.size > 0).length
  const online = until("every device has a socket", Effect.sync(() => connected() === devices), patience)
  const gone = until("the gateway has seen it", Effect.sync(() => connected() < devices), patience)
  const shared = until(
    "each node has its share",
    Effect.map(
      Effect.forEach(all, (node) => node.metric(`columba_devices{state="Online"}`)),
      (counts) => counts.reduce((sum, one) => sum + one) === devices && counts.every((one) => one > devices / nodes / 2)
    ),
    patience
  )
  const start = yield* timed(
    Effect.andThen(Effect.forEach(all, (node) => node.start, { concurrency: "unbounded", discard: true }), online)
  )
  yield* shared
  const memory = yield* Effect.forEach(all, ({ residentMegabytes }) => Effect.map(residentMegabytes, Math.round))
  const spread = yield* Effect.forEach(all, (node) => node.metric(`columba_devices{state="Online"}`))
  const shards = yield* Effect.forEach(all, (node) => node.metric("columba_cluster_shards"))

  const head = Effect.map(first.get<{ readonly head: number }>("/api/v1/server/overview"), (overview) => overview.head)
  const measure = Effect.fnUntraced(function*(eventsPerSecond: number) {
    progress(`${eventsPerSecond} events per second for ${seconds} s`)
    const pids = yield* Effect.forEach(all, ({ pid }) => pid)
    if (eventsPerSecond > 0) core.emit({ rate: eventsPerSecond })
    const before = {
      head: yield* head,
      nodes: pids.map((pid) => cpuMicros([pid])),
      postgres: cpuMicros(servers.postgresProcesses()),
      gateway: cpuMicros([process.pid])
    }
    const from = performance.now()
    yield* Effect.sleep(`${seconds} seconds`)
    const micros = (performance.now() - from) * 1000
    const cores = (used: number) => Math.round(used / micros * 100) / 100
    const measured = {
      committedPerSecond: Math.round(((yield* head) - before.head) / micros * 1e6),
      nodes: pids.map((pid, index) => cores(cpuMicros([pid]) - before.nodes[index]!)),
      postgres: cores(cpuMicros(servers.postgresProcesses()) - before.postgres),
      gateway: cores(cpuMicros([process.pid]) - before.gateway)
    }
    core.emitter.stop()
    return measured
  })
  const idle = yield* measure(0)
  const steady = yield* measure(rate)
  const failures: Record<string, number | null> = {}
  if (nodes > 1) {
    core.emit({ rate })
    progress("one is killed, and starts again")
    failures["afterKill"] = yield* timed(Effect.andThen(last.kill, Effect.andThen(gone, online)))
    yield* last.start
    failures["sharedAgain"] = yield* timed(shared)
    progress("one is stopped in order")
    // Its devices are handed over: they have a socket all the time.
    failures["afterStop"] = yield* timed(Effect.andThen(last.terminate, online))
    core.emitter.stop()
    yield* last.start
    yield* shared
  }
  const full = yield* measure(burst)
  process.stdout.write(
    `${
      JSON.stringify({
        nodes,
        devices,
        lease: values.lease,
        start,
        memory,
        spread,
        shards,
        idle,
        steady,
        ...failures,
        full
      })
    }\n`
  )
})

await Effect.runPromise(Effect.scoped(main))
await servers[Symbol.asyncDispose]()
process.exit(0)
