/**
 * Many readers of the log over several processes that run no devices:
 * `node bench/readers.ts [--readers 10000] [--processes 3] [--devices 1000] [--rate 100] [--seconds 30]`.
 *
 * One node runs the devices; the readers are event streams at the others, each of one device, like a program that serves one
 * customer. Prints one line of JSON: a reader's cost in memory and CPU, without and with events, the delay of events, and whether
 * every reader got every event of its device, once and in order. Ends with 1 if one did not. It needs 2 open files per reader
 * (`ulimit -n`); times are meaningful only on a machine without other work.
 */
import { connect } from "node:net"
import type { Socket } from "node:net"
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
    readers: { type: "string", default: "10000" },
    processes: { type: "string", default: "3" },
    devices: { type: "string", default: "1000" },
    rate: { type: "string", default: "100" },
    seconds: { type: "string", default: "30" }
  }
})
const [readers, processes, devices, rate, seconds] = [
  Number(values.readers),
  Number(values.processes),
  Number(values.devices),
  Number(values.rate),
  Number(values.seconds)
]

/** Maximum number of connections that open at a time. */
const openingMax = 100

/** One of this many readers records the times of its events; all count and compare their numbers. */
const timedEvery = 20

interface Reader {
  readonly device: string
  opened: boolean
  ended: boolean
  /** Numbers of the received events, in order. */
  readonly seqs: Array<number>
}

interface Page {
  readonly items: ReadonlyArray<{ readonly seq: string; readonly deviceId: string }>
  readonly through: string
}

/** The last data of some ended readers: it contains the reason. */
const reasons = new Set<string>()
const reasonsMax = 5
let closing = false

const delays: Array<number> = []

const open = (url: string, device: string, after: number, timed: boolean, done: () => void): Reader => {
  const reader: Reader = { device, opened: false, ended: false, seqs: [] }
  const { port } = new URL(url)
  let rest = ""
  let newest = ""
  const socket: Socket = connect(Number(port), "127.0.0.1", () => {
    socket.write(
      `GET /api/v1/events?device=${device}&after=${after} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`
    )
  })
  socket.setEncoding("latin1")
  socket.on("data", (text: string) => {
    if (!reader.opened) {
      reader.opened = true
      if (!text.startsWith("HTTP/1.1 200")) reader.ended = true
      done()
    }
    newest = text
    const blocks = (rest + text).split("\n\n")
    rest = blocks.pop()!
    for (const block of blocks) {
      const seq = /"seq":"(\d+)"/.exec(block)?.[1]
      if (seq === undefined) continue
      reader.seqs.push(Number(seq))
      const at = timed ? /"recordedAt":"([^"]+)"/.exec(block)?.[1] : undefined
      if (at !== undefined) delays.push(Date.now() - Date.parse(at))
    }
  })
  socket.on("error", () => {})
  socket.on("close", () => {
    if (!closing && reasons.size < reasonsMax) reasons.add(newest.slice(0, 300))
    reader.ended = true
    if (!reader.opened) done()
  })
  return reader
}

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
    all.push(
      open(serving[index % processes]!.url, ids[index % ids.length]!, head, index % timedEvery === 0, () => opening--)
    )
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

  // The log's events of each device, against those that each of its readers got.
  const logged = new Map<string, Array<number>>()
  for (let after: string | number = head;;) {
    const page: Page = yield* node.get<Page>(`/api/v1/events?after=${after}&limit=1000`)
    for (const { deviceId, seq } of page.items) {
      const list = logged.get(deviceId)
      if (list === undefined) logged.set(deviceId, [Number(seq)])
      else list.push(Number(seq))
    }
    if (page.items.length === 0) break
    after = page.through
  }
  const isComplete = ({ device, seqs }: Reader) => seqs.join() === (logged.get(device) ?? []).join()
  yield* Effect.timeoutOption(
    until("every reader has every event of its device", Effect.sync(() => all.every(isComplete))),
    "30 seconds"
  )
  closing = true
  const sorted = delays.toSorted((left, right) => left - right)
  const delivered = all.reduce((sum, { seqs }) => sum + seqs.length, 0)
  const micros = (cpu: number) => Math.round(cpu * 1e6)
  process.stdout.write(`${
    JSON.stringify({
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
      incomplete: all.filter((reader) => !isComplete(reader)).length,
      reasons: [...reasons]
    })
  }\n`)
  return refused === 0 && all.every(isComplete)
})

process.exitCode = await Effect.runPromise(Effect.scoped(main)) ? 0 : 1
await servers[Symbol.asyncDispose]()
