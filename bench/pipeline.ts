/**
 * The whole path of an event: from the frame's callback to its commit in Postgres ("stored") and to the confirm of a
 * RabbitMQ quorum queue ("published"), with 1,000 devices and envelopes of 580 bytes. First as fast as possible, then
 * at steady rates for latency. Each round measures floor and Columba one after the other on fresh databases and
 * fresh virtual hosts, and ends with a count of the arrived events: a round that lost an event is discarded.
 */
import { cpuMicros, requireSockets, sleep } from "./support/processes.ts"
import { progress, report } from "./support/report.ts"
import type { Figure } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import type { Servers } from "./support/servers.ts"
import { quick, readRuns } from "./support/settings.ts"
import { medians } from "./support/statistics.ts"
import { startBarePipeline, startColumbaPipeline, startGateway } from "./support/subjects.ts"
import type { Pipeline, PipelineOptions } from "./support/subjects.ts"

const devices = 1_000
/** Warms up the compiler and the pools. */
const warmUpEvents = quick ? 1_000 : 10_000
const burstEvents = quick ? 5_000 : 40_000
const settleMillis = 5_000
const rates = [200, 1_000, 2_000]
const rateWarmUpSeconds = quick ? 1 : 2
const rateSeconds = quick ? 2 : 10

const measure = async (
  servers: Servers,
  start: (options: PipelineOptions) => Promise<Pipeline>
): Promise<Record<string, number>> => {
  const [databaseUrl, brokerUrl] = [await servers.freshDatabase(), await servers.freshVirtualHost()]
  await using gateway = await startGateway()
  await using subject = await start({ databaseUrl, brokerUrl, gatewayPort: gateway.port, count: devices })
  await gateway.ask("awaitOpen", devices)
  // Columba asks the gateway for the status of every device that connects; that is not measured here.
  await sleep(settleMillis)
  let total = 0
  const cell: Record<string, number> = {}

  /** Runs one load until its last confirm. CPU is per event and per process. */
  const load = async (events: number, send: () => Promise<unknown>, name: string): Promise<void> => {
    const parts = { runtime: [subject.pid], broker: servers.brokerProcesses(), postgres: servers.postgresProcesses() }
    const before = Object.entries(parts).map(([part, pids]) => [part, cpuMicros(pids)] as const)
    total += events
    const startedAt = performance.now()
    await Promise.all([send(), subject.ask("awaitPublished", total)])
    const micros = (performance.now() - startedAt) * 1000
    cell[`${name}.eventsPerSecond`] = events / micros * 1e6
    for (const [part, used] of before) {
      const spent = cpuMicros(parts[part as keyof typeof parts]) - used
      cell[`${name}.${part}CpuMicros`] = spent / events
      cell[`${name}.${part}Cores`] = spent / micros
    }
  }

  await load(warmUpEvents, () => gateway.ask("burst", warmUpEvents), "warmUp")
  await load(burstEvents, () => gateway.ask("burst", burstEvents), "burst")
  // Separately: the timer of this measurement costs time too.
  await subject.ask("startBlocks")
  await load(burstEvents, () => gateway.ask("burst", burstEvents), "blocks")
  cell["burst.longestBlock"] = await subject.ask("longestBlock")
  for (const perSecond of rates) {
    await sleep(500)
    const seconds = (seconds: number) => () => gateway.ask("steady", { perSecond, seconds })
    await load(perSecond * rateWarmUpSeconds, seconds(rateWarmUpSeconds), "warmUp")
    await subject.ask("startLatencies")
    await load(perSecond * rateSeconds, seconds(rateSeconds), `at${perSecond}`)
    const { stored, published } = await subject.ask("latencies")
    if (stored.count !== perSecond * rateSeconds || published.count !== stored.count) {
      throw new Error(
        `Latencies of ${stored.count} commits and ${published.count} confirms, not ${perSecond * rateSeconds}`
      )
    }
    cell[`at${perSecond}.storedP50`] = stored.p50
    cell[`at${perSecond}.storedP99`] = stored.p99
    cell[`at${perSecond}.publishedP50`] = published.p50
    cell[`at${perSecond}.publishedP99`] = published.p99
  }
  const ledger = await subject.ledger()
  if (ledger.rows !== total || ledger.queued !== total || ledger.unsettled !== 0) {
    throw new Error(`${total} events were sent, and there are: ${JSON.stringify(ledger)}`)
  }
  return cell
}

requireSockets(devices)
await using servers = await startServers({ broker: true })
const floor: Array<Record<string, number>> = []
const columba: Array<Record<string, number>> = []
const runs = readRuns(3)
for (let run = 1; run <= runs; run++) {
  progress(`pipeline: run ${run} of ${runs}, bare`)
  floor.push(await measure(servers, startBarePipeline))
  progress(`pipeline: run ${run} of ${runs}, Columba`)
  columba.push(await measure(servers, startColumbaPipeline))
}
const [bare, ours] = [medians(floor), medians(columba)]
const figure = (name: string, unit: string, key: string, target: Figure["target"]): Figure => ({
  name,
  unit,
  floor: bare[key]!,
  columba: ours[key]!,
  target
})
report({
  benchmark: "pipeline",
  runs,
  conditions: `${devices} devices, 580-byte envelopes; burst of ${burstEvents} with backpressure, rates over ` +
    `${rateSeconds} s; Postgres with fsync, RabbitMQ quorum queue on one node, all on the same machine`,
  figures: [
    figure("events, frame to confirm, as fast as it goes", "/s", "burst.eventsPerSecond", { atLeast: 1 }),
    figure("CPU of the process per event, same", "µs", "burst.runtimeCpuMicros", { atMost: 1.1 }),
    figure("used by the process, same", "cores", "burst.runtimeCores", null),
    figure("used by Postgres, same", "cores", "burst.postgresCores", null),
    figure("used by RabbitMQ, same", "cores", "burst.brokerCores", null),
    figure("longest block of the event loop, same", "ms", "burst.longestBlock", { valueAtMost: 50 }),
    ...rates.flatMap((rate) => {
      const latency = (atMost: number) => rate === 1_000 ? { atMost } : null
      const at = `${rate.toLocaleString("en-US")}/s`
      return [
        figure(`stored at ${at}, p50`, "ms", `at${rate}.storedP50`, latency(1)),
        figure(`stored at ${at}, p99`, "ms", `at${rate}.storedP99`, latency(1.1)),
        figure(`published at ${at}, p50`, "ms", `at${rate}.publishedP50`, latency(1)),
        figure(`published at ${at}, p99`, "ms", `at${rate}.publishedP99`, latency(1.2)),
        figure(
          `CPU of the process per event at ${at}`,
          "µs",
          `at${rate}.runtimeCpuMicros`,
          rate > 1_000 ? null : { atMost: 1.6 }
        )
      ]
    })
  ],
  details: { floor, columba }
})
