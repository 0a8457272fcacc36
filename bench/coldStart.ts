/**
 * A cold start: from starting the process until 10,000 devices of the `devices` table are open at the gateway.
 */
import { cpuMicros, requireSockets } from "./support/processes.ts"
import { progress, report } from "./support/report.ts"
import { startServers } from "./support/servers.ts"
import { quick, readRuns } from "./support/settings.ts"
import { medians } from "./support/statistics.ts"
import { registerDevices } from "./support/program.ts"
import { startBareSockets, startColumbaSockets, startGateway } from "./support/subjects.ts"
import type { Sockets, SocketsOptions } from "./support/subjects.ts"

const count = quick ? 1_000 : 10_000

interface Cell {
  readonly wallMillis: number
  readonly cpuMillis: number
}

type Start = (options: SocketsOptions) => Promise<Sockets>

const measure = async (databaseUrl: string, start: Start, paced = false): Promise<Cell> => {
  await using gateway = await startGateway()
  await using subject = await start({ databaseUrl, gatewayPort: gateway.port, paced, cold: true })
  const openAt = await gateway.ask("awaitOpen", count)
  return { wallMillis: openAt - subject.startedAt, cpuMillis: cpuMicros([subject.pid]) / 1000 }
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
  const now = (subject: string) => progress(`cold start: ${count} devices, run ${run} of ${runs}, ${subject}`)
  const databaseUrl = await servers.freshDatabase()
  await registerDevices(databaseUrl, count)
  now("bare ws")
  cells.floor.push(await measure(databaseUrl, startBareSockets))
  now("Columba")
  cells.columba.push(await measure(databaseUrl, startColumbaSockets))
  now("Columba with its ramp")
  cells.shipped.push(await measure(databaseUrl, startColumbaSockets, true))
}
const [bare, ours, shipped] = [medians(cells.floor), medians(cells.columba), medians(cells.shipped)]
const many = count.toLocaleString("en-US")
report({
  benchmark: "coldStart",
  runs,
  conditions: "from the start of the process to the last socket open at the gateway; devices read from Postgres; " +
    "the ramp is the limit of connects a second that Columba keeps to a gateway unless it is set otherwise",
  figures: [
    {
      name: `cold start of ${many}`,
      unit: "ms",
      floor: bare.wallMillis,
      columba: ours.wallMillis,
      target: { atMost: 1.25 }
    },
    {
      name: `cold start of ${many}, CPU`,
      unit: "ms",
      floor: bare.cpuMillis,
      columba: ours.cpuMillis,
      target: { atMost: 1.25 }
    },
    {
      name: `cold start of ${many}, with the ramp`,
      unit: "ms",
      floor: bare.wallMillis,
      columba: shipped.wallMillis,
      target: null
    },
    {
      name: "CPU per connect of a cold start, with the ramp",
      unit: "µs",
      floor: bare.cpuMillis * 1000 / count,
      columba: shipped.cpuMillis * 1000 / count,
      target: { valueAtMost: 400 }
    }
  ],
  details: cells
})
