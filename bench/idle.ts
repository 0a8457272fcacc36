/**
 * The cost of an idle device: resident memory per device at 1,000, 5,000 and 10,000 real sockets, and the CPU time of
 * 10,000 devices that only answer pings. Memory is measured after each device has had one event, less what the same
 * process used before it connected.
 */
import { cpuMicros, requireSockets, residentBytes, sleep } from "./support/processes.ts"
import { progress, report } from "./support/report.ts"
import type { Figure } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick, readRuns } from "./support/settings.ts"
import { medians } from "./support/statistics.ts"
import { startBareSockets, startColumbaSockets, startGateway } from "./support/subjects.ts"
import type { Sockets, SocketsOptions } from "./support/subjects.ts"

const counts = quick ? [1_000] : [1_000, 5_000, 10_000]
/** The garbage collector needs some idle time to free what connecting allocated. */
const settleMillis = 10_000
/** V8 returns memory by itself after a longer quiet time. */
const restMillis = quick ? 0 : 50_000
/** A little more than four ping intervals of 10 s. */
const windowMillis = quick ? 5_000 : 41_000

interface Cell {
  readonly perDeviceKiB: number
  readonly totalMiB: number
  /** After a further `restMillis`. */
  readonly restedKiB: number
  readonly restedMiB: number
  readonly idleCpuPercent: number
}

const measure = async (start: (options: SocketsOptions) => Promise<Sockets>, count: number): Promise<Cell> => {
  const databaseUrl = await servers.freshDatabase()
  await using gateway = await startGateway()
  await using subject = await start({ databaseUrl, gatewayPort: gateway.port, paced: false })
  await sleep(2_000)
  const before = residentBytes(subject.pid)
  await subject.connect(count)
  await gateway.ask("awaitOpen", count)
  await gateway.ask("sendOneEach")
  await sleep(settleMillis)
  const settled = residentBytes(subject.pid)
  let idleCpuPercent = 0
  let rested = settled
  if (count === counts.at(-1)) {
    await sleep(restMillis)
    rested = residentBytes(subject.pid)
    const start = performance.now()
    const used = cpuMicros([subject.pid])
    await sleep(windowMillis)
    idleCpuPercent = (cpuMicros([subject.pid]) - used) / 10 / (performance.now() - start)
  }
  const open = await gateway.ask("openCount")
  if (open !== count) throw new Error(`${count - open} of ${count} devices were lost while nothing happened`)
  return {
    perDeviceKiB: (settled - before) / count / 1024,
    totalMiB: settled / 2 ** 20,
    restedKiB: (rested - before) / count / 1024,
    restedMiB: rested / 2 ** 20,
    idleCpuPercent
  }
}

requireSockets(counts.at(-1)!)
await using servers = await startServers({ broker: false })
const figures: Array<Figure> = []
const details: Record<string, unknown> = {}
for (const count of counts) {
  // The targets are for the largest fleet; the smaller ones show how the cost grows.
  const runs = count === counts.at(-1) ? readRuns(3) : 1
  const floor: Array<Cell> = []
  const columba: Array<Cell> = []
  for (let run = 1; run <= runs; run++) {
    progress(`idle: ${count} devices, run ${run} of ${runs}, bare ws`)
    floor.push(await measure(startBareSockets, count))
    progress(`idle: ${count} devices, run ${run} of ${runs}, Columba`)
    columba.push(await measure(startColumbaSockets, count))
  }
  details[count] = { floor, columba }
  const [bare, ours] = [medians(floor), medians(columba)]
  const cell = (name: string, unit: string, key: keyof Cell, atMost: number | null): Figure => ({
    name,
    unit,
    floor: bare[key],
    columba: ours[key],
    target: atMost === null ? null : { atMost }
  })
  const many = count.toLocaleString("en-US")
  const last = count === counts.at(-1)
  figures.push(cell(`memory per idle device, ${many}`, "KiB", "perDeviceKiB", last ? 1.5 : null))
  if (last) {
    figures.push(cell(`memory in all, ${many} idle`, "MiB", "totalMiB", null))
    figures.push(cell(`memory per idle device, ${many}, a minute later`, "KiB", "restedKiB", 1.5))
    figures.push(cell(`memory in all, ${many} idle, a minute later`, "MiB", "restedMiB", null))
    figures.push(cell(`CPU, ${many} idle, pings every 10 s`, "%", "idleCpuPercent", 1.25))
  }
}
report({
  benchmark: "idle",
  runs: readRuns(3),
  conditions:
    `resident memory ${settleMillis / 1000} s after one event a device, and ${
      restMillis / 1000
    } s after that; CPU over ${windowMillis / 1000} s; ` +
    "Columba with its log on Postgres",
  figures,
  details
})
