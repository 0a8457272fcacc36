/**
 * Many readers of the log over several processes that run no devices:
 * `node bench/readers.ts [--readers 10000] [--processes 3] [--devices 1000] [--rate 100] [--seconds 30] [--over sse|rpc]`.
 *
 * One node runs the devices; the readers are event streams at the others, each of one device, like a program that serves one
 * customer. Prints one line of JSON: a reader's cost in memory and CPU, without and with events, the delay of events, and whether
 * every reader got every event of its device, once and in order. Ends with 1 if one did not. It needs 2 open files per reader
 * (`ulimit -n`); times are meaningful only on a machine without other work.
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
import { openRpc, openSse } from "./support/eventReaders.ts"
import type { Reader } from "./support/eventReaders.ts"
import { cpuMicros, requireSockets } from "./support/processes.ts"
import { progress } from "./support/report.ts"
import { startServers } from "./support/servers.ts"

const { values } = parseArgs({
  options: {
    readers: { type: "string", default: "10000" },
    processes: { type: "string", default: "3" },
    devices: { type: "string", default: "1000" },
    rate: { type: "string", default: "100" },
    seconds: { type: "string", default: "30" },
    over: { type: "string", default: "sse" }
  }
})
const [readers, processes, devices, rate, seconds] = [
  Number(values.readers),
  Number(values.processes),
  Number(values.devices),
  Number(values.rate),
  Number(values.seconds)
]

const open = values.over === "rpc" ? openRpc : openSse

/** Connections that are being opened at a time. */
const openingMax = 100

/** One of this many readers records the times of its events; all count and compare their numbers. */
const timedEvery = 20

interface Page {
  readonly items: ReadonlyArray<{ readonly seq: string; readonly deviceId: string }>
  readonly through: string
}

/** The last data of some ended readers: it contains the reason. */
const reasons = new Set<string>()
const reasonsMax = 5
let closing = false

const delays: Array<number> = []

const quantile = (sorted: ReadonlyArray<number>, part: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? null

requireSockets(readers + devices + 200)
const servers = await startServers({ broker: false })

const main = Effect.gen(function*() {
  if (!isProgramCurrent()) yield* Effect.promise(() => buildProgram())
  const databaseUrl = yield* Effect.promise(servers.freshDatabase)
  const { core, url: gateway } = yield* Effect.orDie(startSimulator({ seed: "readers" }))
  core.addDevices(devices, "slot-")
  const shared = {
    DATABASE_URL: databaseUrl,
    COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
    COLUMBA_CLUSTER: "on",
    COLUMBA_NODE_PORT: String(yield* freePort)
  }
  const node = yield* ColumbaProcess.make({
    directory: yield* freshDirectory,
    env: { ...shared, WHATSAPP_API_URL: gateway }
  })
  yield* node.start
  const serving: Array<ColumbaProcess.ColumbaProcess> = []
  for (let index = 0; index < processes; index++) {
    const one = yield* ColumbaProcess.make({
      directory: yield* freshDirectory,
      env: { ...shared, COLUMBA_ROLES: "api", COLUMBA_STREAMS: "20000" }
    })
    yield* one.start
    serving.push(one)
  }
  progress(`${devices} devices`)
  const ids = [...(yield* addDevices(node, devices)).keys()]
  yield* until("every device is online", Effect.sync(() => core.stats().sockets === devices))

  const pids = yield* Effect.forEach(serving, ({ pid }) => pid)
  const memory = Effect.map(
    Effect.forEach(serving, ({ residentMegabytes }) => residentMegabytes),
    (all) => all.reduce((sum, one) => sum + one)
  )
  const { head } = yield* node.get<{ readonly head: number }>("/api/v1/server/overview")
  const { through } = yield* node.get<Page>(`/api/v1/events?after=${head}&limit=1000`)
  const empty = yield* memory
  progress(`${readers} readers over ${processes} processes`)
  const openedAt = performance.now()
  const all: Array<Reader> = []
  let opening = 0
  while (all.length < readers) {
    if (opening >= openingMax) {
      yield* Effect.sleep("5 millis")
      continue
    }
    opening++
    const index = all.length
    all.push(open({
      url: serving[index % processes]!.url,
      device: ids[index % ids.length]!,
      after: through,
      onDelay: index % timedEvery === 0 ? (millis) => delays.push(millis) : null,
      onOpen: () => opening--,
      onEnd: (why) => {
        if (!closing && reasons.size < reasonsMax) reasons.add(why)
      }
    }))
  }
  yield* until("all are open", Effect.sync(() => all.every(({ opened }) => opened)))
  const openSeconds = (performance.now() - openedAt) / 1000
  const refused = all.filter(({ ended }) => ended).length

  const measure = Effect.fnUntraced(function*(what: string) {
    progress(`${what} for ${seconds} s`)
    const [before, database] = [cpuMicros(pids), cpuMicros(servers.postgresProcesses())]
    const from = performance.now()
    yield* Effect.sleep(`${seconds} seconds`)
    const micros = (performance.now() - from) * 1000
    return {
      cpu: (cpuMicros(pids) - before) / micros,
      database: (cpuMicros(servers.postgresProcesses()) - database) / micros
    }
  })
  const quiet = yield* measure("no events")
  const idle = yield* memory
  core.emit({ rate })
  const loaded = yield* measure(`${rate} events per second`)
  core.emitter.stop()
  const full = yield* memory

  // What each device has in the log, against what each of its readers got.
  const readLogged = Effect.gen(function*() {
    const found = new Map<string, Array<number>>()
    for (let after = through;;) {
      const page: Page = yield* node.get<Page>(`/api/v1/events?after=${after}&limit=1000`)
      for (const { deviceId, seq } of page.items) {
        const list = found.get(deviceId)
        if (list === undefined) found.set(deviceId, [Number(seq)])
        else list.push(Number(seq))
      }
      if (page.items.length === 0) return found
      after = page.through
    }
  })
  let logged = yield* readLogged
  const isComplete = ({ device, seqs }: Reader) => seqs.join() === (logged.get(device) ?? []).join()
  yield* Effect.timeoutOption(
    until(
      "every reader has every event of its device",
      Effect.gen(function*() {
        if (all.every(isComplete)) return true
        // A busy node may have stored more since.
        logged = yield* readLogged
        return false
      })
    ),
    "30 seconds"
  )
  const incomplete = all.filter((reader) => !isComplete(reader)).length
  closing = true
  for (const { close } of all) close()
  const sorted = delays.toSorted((left, right) => left - right)
  const delivered = all.reduce((sum, { seqs }) => sum + seqs.length, 0)
  const micros = (cpu: number) => Math.round(cpu * 1e6)
  process.stdout.write(`${
    JSON.stringify({
      over: values.over,
      readers,
      processes,
      devices,
      rate,
      refused,
      openedPerSecond: Math.round(readers / openSeconds),
      kilobytesPerReader: Math.round((idle - empty) * 1024 / readers),
      kilobytesPerReaderUnderLoad: Math.round((full - empty) * 1024 / readers),
      idle: {
        cpuMicrosPerReaderAndSecond: micros(quiet.cpu / readers),
        databaseCores: Number(quiet.database.toFixed(3))
      },
      loaded: {
        cpuCores: Number(loaded.cpu.toFixed(3)),
        cpuMicrosPerDelivery: micros((loaded.cpu - quiet.cpu) / (delivered / seconds)),
        databaseCores: Number(loaded.database.toFixed(3))
      },
      events: [...logged.values()].reduce((sum, { length }) => sum + length, 0),
      delivered,
      delayMillis: { count: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) },
      incomplete,
      reasons: [...reasons]
    })
  }\n`)
  return refused === 0 && incomplete === 0
})

process.exitCode = await Effect.runPromise(Effect.scoped(main)) ? 0 : 1
await servers[Symbol.asyncDispose]()
