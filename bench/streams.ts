/**
 * 1,000 subscribers on one process: event streams over HTTP (SSE), each of one of 100 devices, first without events and then
 * with 100 events per second, so with 1,000 deliveries. A delay runs from when the gateway sends an event until a reader has it.
 * The readers are in the process of the benchmark. If one of them lacks an event, the benchmark fails.
 */
import { openSse } from "./support/eventReaders.ts"
import type { Reader } from "./support/eventReaders.ts"
import { cpuMicros, requireSockets, residentBytes, sleep } from "./support/processes.ts"
import { progress, report } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick, readRuns } from "./support/settings.ts"
import { Latencies, medians } from "./support/statistics.ts"
import { startBareStreams, startColumbaStreams, startGateway } from "./support/subjects.ts"
import type { Streams, StreamsOptions } from "./support/subjects.ts"

const devices = 100
const streams = 1_000
const perSecond = 100
const seconds = quick ? 2 : 20
/** Until what was allocated by connecting and opening is collected. */
const settleMillis = quick ? 1_000 : 10_000
/** Streams that are being opened at a time. */
const openingMax = 50

interface Cell {
  readonly perStreamKiB: number
  readonly idleCpuPercent: number
  readonly microsPerDelivery: number
  readonly delayP50: number
  readonly delayP99: number
}

const measure = async (start: (options: StreamsOptions) => Promise<Streams>): Promise<Cell> => {
  const databaseUrl = await servers.freshDatabase()
  await using gateway = await startGateway()
  await using subject = await start({ databaseUrl, gatewayPort: gateway.port, count: devices })
  await gateway.ask("awaitOpen", devices)
  await sleep(settleMillis)
  const before = residentBytes(subject.pid)
  const after = await subject.position()
  const delays = new Latencies()
  const readers: Array<Reader> = []
  let opening = 0
  const unexpected: Array<string> = []
  let closing = false
  while (readers.length < streams || opening > 0) {
    if (readers.length === streams || opening >= openingMax) {
      await sleep(1)
      continue
    }
    opening++
    readers.push(openSse({
      url: subject.url,
      device: subject.device(readers.length % devices),
      after,
      onDelay: null,
      onBlock: (block) => {
        const sent = /"sender_display_name":"at ([\d.]+)"/.exec(block)?.[1]
        if (sent !== undefined) delays.add(Number(process.hrtime.bigint()) / 1e6 - Number(sent))
      },
      onOpen: () => opening--,
      onEnd: (why) => {
        if (!closing) unexpected.push(why)
      }
    }))
  }
  await sleep(settleMillis)
  const perStreamKiB = (residentBytes(subject.pid) - before) / streams / 1024

  const watch = async (act: () => Promise<unknown>) => {
    const from = performance.now()
    const used = cpuMicros([subject.pid])
    await act()
    return { micros: cpuMicros([subject.pid]) - used, millis: performance.now() - from }
  }
  const idle = await watch(() => sleep(seconds * 1000))
  const events = perSecond * seconds
  const expected = events * streams / devices
  const count = () => readers.reduce((sum, { seqs }) => sum + seqs.length, 0)
  const loaded = await watch(async () => {
    await gateway.ask("steady", { perSecond, seconds })
    for (let tries = 0; count() < expected && tries < 1_000; tries++) await sleep(10)
  })
  closing = true
  for (const { close } of readers) close()
  const repeated = readers.some(({ seqs }) => new Set(seqs).size < seqs.length)
  if (unexpected.length > 0 || repeated || count() !== expected) {
    throw new Error(`${count()} of ${expected} deliveries, ${unexpected.length} streams ended: ${unexpected[0] ?? ""}`)
  }
  const { count: timed, p50, p99 } = delays.summary()
  if (timed !== expected) throw new Error(`${timed} delays of ${expected} deliveries`)
  return {
    perStreamKiB,
    idleCpuPercent: idle.micros / 10 / idle.millis,
    microsPerDelivery: loaded.micros / expected,
    delayP50: p50,
    delayP99: p99
  }
}

requireSockets(streams + devices)
await using servers = await startServers({ broker: false })
const cells: { readonly floor: Array<Cell>; readonly columba: Array<Cell> } = { floor: [], columba: [] }
const runs = readRuns(3)
for (let run = 1; run <= runs; run++) {
  progress(`streams: ${streams}, run ${run} of ${runs}, bare`)
  cells.floor.push(await measure(startBareStreams))
  progress(`streams: ${streams}, run ${run} of ${runs}, Columba`)
  cells.columba.push(await measure(startColumbaStreams))
}
const [bare, ours] = [medians(cells.floor), medians(cells.columba)]
const figure = (name: string, unit: string, key: keyof Cell) => ({
  name,
  unit,
  floor: bare[key],
  columba: ours[key],
  target: null
})
report({
  benchmark: "streams",
  runs,
  conditions:
    `${streams.toLocaleString("en-US")} SSE streams of ${devices} devices; ${perSecond} events per second for ` +
    `${seconds} s, each to ten streams; the floor stores nothing, Columba has its log on Postgres`,
  figures: [
    figure("memory per open stream", "KiB", "perStreamKiB"),
    figure("CPU, no events", "%", "idleCpuPercent"),
    figure("CPU of the process per delivery, with reading and storing", "µs", "microsPerDelivery"),
    figure("from the gateway to a reader, p50", "ms", "delayP50"),
    figure("from the gateway to a reader, p99", "ms", "delayP99")
  ],
  details: cells
})
