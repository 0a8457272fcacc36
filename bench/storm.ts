/**
 * A storm: the gateway drops 5,000 devices at once, and accepts them again. Timed at the gateway, from the first
 * drop until all are open again, with the CPU time that the client needed.
 */
import { cpuMicros, requireSockets, sleep } from "./support/processes.ts"
import { progress, report } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick, readRuns } from "./support/settings.ts"
import { medians } from "./support/statistics.ts"
import { startBareSockets, startColumbaSockets, startGateway } from "./support/subjects.ts"
import type { Sockets, SocketsOptions } from "./support/subjects.ts"

const count = quick ? 1_000 : 5_000
/** Until the remaining work of connecting is done, so that the storm begins from rest. */
const settleMillis = 5_000

interface Cell {
  readonly wallMillis: number
  readonly cpuMillis: number
}

const measure = async (start: (options: SocketsOptions) => Promise<Sockets>, paced = false): Promise<Cell> => {
  const databaseUrl = await servers.freshDatabase()
  await using gateway = await startGateway()
  await using subject = await start({ databaseUrl, gatewayPort: gateway.port, paced })
  await subject.connect(count)
  await gateway.ask("awaitOpen", count)
  await sleep(settleMillis)
  const cpuBefore = cpuMicros([subject.pid])
  const droppedAt = await gateway.ask("dropAll")
  const openAt = await gateway.ask("awaitOpen", count)
  return { wallMillis: openAt - droppedAt, cpuMillis: (cpuMicros([subject.pid]) - cpuBefore) / 1000 }
}

requireSockets(count)
await using servers = await startServers({ broker: false })
const cells: { readonly floor: Array<Cell>; readonly columba: Array<Cell>; readonly shipped: Array<Cell> } = {
  floor: [],
  columba: [],
  shipped: []
}
const runs = readRuns(3)
for (let run = 1; run <= runs; run++) {
  const now = (subject: string) => progress(`storm: ${count} devices, run ${run} of ${runs}, ${subject}`)
  now("bare ws")
  cells.floor.push(await measure(startBareSockets))
  now("Columba")
  cells.columba.push(await measure(startColumbaSockets))
  now("Columba with its ramp")
  cells.shipped.push(await measure(startColumbaSockets, true))
}
const [bare, ours, shipped] = [medians(cells.floor), medians(cells.columba), medians(cells.shipped)]
const many = count.toLocaleString("en-US")
report({
  benchmark: "storm",
  runs,
  conditions: "bare ws: 256 handshakes at once, full jitter from 500 ms; Columba with its log on Postgres; " +
    "the ramp is the limit of connects a second that Columba keeps to a gateway unless it is set otherwise",
  figures: [
    {
      name: `storm of ${many}, all back`,
      unit: "ms",
      floor: bare.wallMillis,
      columba: ours.wallMillis,
      target: { atMost: 1.3 }
    },
    {
      name: `storm of ${many}, client CPU`,
      unit: "ms",
      floor: bare.cpuMillis,
      columba: ours.cpuMillis,
      target: { atMost: 1.3 }
    },
    {
      name: `storm of ${many}, all back, with the ramp`,
      unit: "ms",
      floor: bare.wallMillis,
      columba: shipped.wallMillis,
      target: null
    },
    {
      name: "CPU per connect in a storm, with the ramp",
      unit: "µs",
      floor: bare.cpuMillis * 1000 / count,
      columba: shipped.cpuMillis * 1000 / count,
      target: { valueAtMost: 400 }
    }
  ],
  details: cells
})
