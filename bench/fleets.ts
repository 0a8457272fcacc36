/**
 * What fleets of 200, 2,000 and 10,000 numbers need: `node bench/fleets.ts [--quick]`, or `npm run bench -- fleets`.
 *
 * The built program (`node dist/main.js`) with its default settings, Postgres and RabbitMQ, each in processes of their own. The
 * simulated gateway is in this process and is not counted. Every number has 1,000 messages a day, which are `eventsPerDay` events.
 */
import { Effect } from "effect"
import { buildProgram, isProgramCurrent } from "../scripts/build.ts"
import { start as startSimulator } from "../src/simulator/SimulatedGateway.ts"
import * as ColumbaProcess from "../test/process/support/ColumbaProcess.ts"
import { addDevices } from "../test/process/support/viaApi.ts"
import { freshDirectory } from "../test/support/directory.ts"
import { until } from "../test/support/until.ts"
import { cpuMicros, requireSockets } from "./support/processes.ts"
import { progress, reportFleets } from "./support/report.ts"
import type { Fleet } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick } from "./support/settings.ts"

const sizes = quick ? [200] : [200, 2_000, 10_000]

/** The events of a number with 1,000 messages a day, with the acks of those that it sends. */
const eventsPerDay = 2_500

/** Idle, with traffic. */
const windowSeconds = quick ? 2 : 30

/** More events per second than the machine can take, for this many seconds. */
const offeredPerSecond = 20_000
const offeredSeconds = quick ? 1 : 10

/** Memory is returned to the machine within a minute after all devices have connected. */
const restSeconds = quick ? 0 : 70

/** For a loaded machine; the time itself is reported. */
const patience = "10 minutes"

requireSockets(sizes.at(-1)! + 500)
if (!isProgramCurrent()) await buildProgram()
await using servers = await startServers({ broker: true })

const measure = Effect.fnUntraced(function*(devices: number) {
  const databaseUrl = yield* Effect.promise(servers.freshDatabase)
  const { core, url } = yield* startSimulator({ seed: "fleets" })
  core.addDevices(devices, "slot-")
  const columba = yield* ColumbaProcess.make({
    directory: yield* freshDirectory,
    env: {
      DATABASE_URL: databaseUrl,
      RABBITMQ_URL: yield* Effect.promise(servers.freshVirtualHost),
      WHATSAPP_API_URL: url
    }
  })
  progress(`${devices} numbers: adding them`)
  yield* columba.start
  yield* addDevices(columba, devices)
  const online = until(
    "every device is online",
    Effect.map(columba.metric(`columba_devices{state="Online"}`), (count) => count === devices),
    patience
  )
  yield* online
  yield* columba.terminate

  progress(`${devices} numbers: starting with them`)
  const from = performance.now()
  yield* columba.start
  yield* online
  const startSeconds = (performance.now() - from) / 1000
  const pid = yield* columba.pid
  const memoryMegabytes = yield* columba.residentMegabytes
  yield* Effect.sleep(`${restSeconds} seconds`)
  const restedMegabytes = yield* columba.residentMegabytes

  const head = Effect.map(
    columba.get<{ readonly head: number }>("/api/v1/server/overview"),
    (overview) => overview.head
  )
  const confirmed = until(
    "the broker has confirmed all events",
    Effect.map(columba.metric(`columba_sink_lag_events{sink="rabbitmq"}`), (lag) => lag === 0),
    patience
  )
  const watch = Effect.fnUntraced(function*(rate: number, seconds: number) {
    progress(`${devices} numbers: ${rate.toFixed(0)} events per second for ${seconds} s`)
    if (rate > 0) core.emit({ rate })
    const processes = [[pid], servers.postgresProcesses(), servers.brokerProcesses()]
    const before = { head: yield* head, cpu: processes.map(cpuMicros) }
    const begin = performance.now()
    yield* Effect.sleep(`${seconds} seconds`)
    core.emitter.stop()
    yield* confirmed
    const percent = (micros: number) => micros / 10 / (performance.now() - begin)
    const [program, postgres, broker] = processes.map((pids, index) => percent(cpuMicros(pids) - before.cpu[index]!))
    const elapsed = (performance.now() - begin) / 1000
    const events = (yield* head) - before.head
    return {
      eventsPerSecond: events / elapsed,
      program: program!,
      postgres: postgres!,
      broker: broker!
    }
  })
  const idle = yield* watch(0, windowSeconds)
  const busy = yield* watch(devices * eventsPerDay / 86_400, windowSeconds)
  const trafficMegabytes = yield* columba.residentMegabytes
  const most = yield* watch(offeredPerSecond, offeredSeconds)
  return { devices, startSeconds, memoryMegabytes, restedMegabytes, trafficMegabytes, idle, busy, most } satisfies Fleet
})

const fleets: Array<Fleet> = []
for (const size of sizes) fleets.push(await Effect.runPromise(Effect.scoped(measure(size))))
reportFleets({
  conditions:
    `the built program with its default settings, Postgres and RabbitMQ on the same machine, and the simulated gateway in ` +
    `a process of its own; CPU in percent of one core over ${windowSeconds} s; ${
      eventsPerDay.toLocaleString("en-US")
    } events per day and number`,
  fleets
})
