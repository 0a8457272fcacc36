/**
 * The same over TLS: 5,000 devices with sockets to `wss://`, their memory once they are idle, and a storm in which the
 * gateway drops all of them. Both sides trust the certificate in the way an operator would configure a private one.
 *
 * The floor makes a full handshake each time, like `ws`; Columba resumes the session of an earlier connection.
 */
import { cpuMicros, requireSockets, residentBytes, sleep } from "./support/processes.ts"
import { progress, report } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick, readRuns } from "./support/settings.ts"
import { medians } from "./support/statistics.ts"
import { startBareSockets, startColumbaSockets, startGateway } from "./support/subjects.ts"
import type { Sockets, SocketsOptions } from "./support/subjects.ts"

const count = quick ? 500 : 5_000
/** As in the figures without TLS. */
const settleMillis = 10_000

interface Cell {
  readonly perDeviceKiB: number
  readonly wallMillis: number
  readonly cpuMillis: number
}

const measure = async (start: (options: SocketsOptions) => Promise<Sockets>): Promise<Cell> => {
  const databaseUrl = await servers.freshDatabase()
  await using gateway = await startGateway(true)
  await using subject = await start({ databaseUrl, gatewayPort: gateway.port, paced: false, secure: true })
  await sleep(2_000)
  const before = residentBytes(subject.pid)
  await subject.connect(count)
  await gateway.ask("awaitOpen", count)
  await gateway.ask("sendOneEach")
  await sleep(settleMillis)
  const perDeviceKiB = (residentBytes(subject.pid) - before) / count / 1024
  const cpuBefore = cpuMicros([subject.pid])
  const droppedAt = await gateway.ask("dropAll")
  const openAt = await gateway.ask("awaitOpen", count)
  const cpuMillis = (cpuMicros([subject.pid]) - cpuBefore) / 1000
  return { perDeviceKiB, wallMillis: openAt - droppedAt, cpuMillis }
}

requireSockets(count)
await using servers = await startServers({ broker: false })
const cells: { readonly floor: Array<Cell>; readonly columba: Array<Cell> } = { floor: [], columba: [] }
const runs = readRuns(3)
for (let run = 1; run <= runs; run++) {
  progress(`TLS: ${count} devices, run ${run} of ${runs}, bare ws`)
  cells.floor.push(await measure(startBareSockets))
  progress(`TLS: ${count} devices, run ${run} of ${runs}, Columba`)
  cells.columba.push(await measure(startColumbaSockets))
}
const [bare, ours] = [medians(cells.floor), medians(cells.columba)]
const many = count.toLocaleString("en-US")
const figure = (name: string, unit: string, key: keyof Cell) => ({
  name,
  unit,
  floor: bare[key],
  columba: ours[key],
  target: null
})
report({
  benchmark: "tls",
  runs,
  conditions: "TLS 1.3 with a certificate of its own; no connects per second are kept to; bare ws: 256 handshakes at " +
    "once, full jitter from 500 ms; Columba with its log on Postgres",
  figures: [
    figure(`memory per idle device over TLS, ${many}`, "KiB", "perDeviceKiB"),
    figure(`storm of ${many} over TLS, all back`, "ms", "wallMillis"),
    figure(`storm of ${many} over TLS, client CPU`, "ms", "cpuMillis")
  ],
  details: cells
})
