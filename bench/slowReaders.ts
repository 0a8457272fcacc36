/**
 * Readers that do not read, with the built program: `node bench/slowReaders.ts [--streams 1000] [--rate 500] [--runs 3]`.
 *
 * 36 MB of events are in the log. `--streams` connections request all of them as an event stream and read nothing; then a load
 * starts while they are open, and one more reader follows the log. Every run is a process of its own. Prints a line of
 * JSON per run: the highest resident memory with its parts at that moment, and the delay until an event of the load reaches
 * the reader. Ends with 1 if the memory exceeded its limit. Times are meaningful only on a machine without other work.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs"
import { connect } from "node:net"
import type { Socket } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { parseArgs } from "node:util"
import { Effect } from "effect"
import { buildProgram, isProgramCurrent } from "../scripts/build.ts"
import type { DeviceId } from "../src/domain/Ids.ts"
import { EventLog } from "../src/services/EventLog.ts"
import { start as startSimulator } from "../src/simulator/SimulatedGateway.ts"
import * as ColumbaProcess from "../test/process/support/ColumbaProcess.ts"
import { addDevices } from "../test/process/support/viaApi.ts"
import { freshDatabaseOn } from "../test/support/database.ts"
import * as PostgresServer from "../test/support/servers/PostgresServer.ts"
import { openSse } from "../test/support/sse.ts"
import { layerPostgresAt } from "../test/support/storage.ts"
import { messageDraft } from "../test/support/surface.ts"
import { until } from "../test/support/until.ts"
import { progress } from "./support/report.ts"

const { values } = parseArgs({
  options: {
    streams: { type: "string", default: "1000" },
    rate: { type: "string", default: "500" },
    runs: { type: "string", default: "3" },
    seconds: { type: "string", default: "45" }
  }
})
const streams = Number(values.streams)
const rate = Number(values.rate)
/** Long enough for streams to be ended as stuck. */
const seconds = Number(values.seconds)

const residentMax = 1024 * 1024 * 1024
const devices = 50

/** 36 MB in events of usual and of large size. */
const fill = Effect.gen(function*() {
  const log = yield* EventLog
  const device = "dev_01K0000000000000000000000A" as DeviceId
  for (let batch = 0; batch < 72; batch++) {
    const size = batch % 8 === 0 ? 250_000 : 5_000
    yield* log.append(
      Array.from({ length: 500_000 / size }, (_, index) => messageDraft(device, batch * 1000 + index, "x".repeat(size)))
    )
  }
  return (yield* log.bounds).head
})

/** The program reports its memory four times a second. */
const memoryProbe = (file: string): string =>
  `--import=data:text/javascript,${
    encodeURIComponent(
      `import { appendFileSync } from "node:fs"; setInterval(() => appendFileSync(${JSON.stringify(file)}, ` +
        `JSON.stringify({ at: Date.now(), ...process.memoryUsage() }) + "\\n"), 250).unref()`
    )
  }`

interface Sample {
  readonly at: number
  readonly rss: number
  readonly heapTotal: number
  readonly heapUsed: number
  readonly external: number
  readonly arrayBuffers: number
}

/** Reads nothing after the first bytes. `begun`: called when these have arrived. */
const openStuck = (port: number, sockets: Set<Socket>, begun: () => void): void => {
  const socket = connect(port, "127.0.0.1", () => {
    socket.write(`GET /api/v1/events?after=0 HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nAccept: text/event-stream\r\n\r\n`)
  })
  sockets.add(socket)
  socket.once("readable", begun)
  socket.on("error", () => {})
  socket.on("close", () => sockets.delete(socket))
}

const quantile = (sorted: ReadonlyArray<number>, part: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] ?? null

const run = Effect.fnUntraced(function*(server: string, number: number) {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-slow-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const databaseUrl = yield* freshDatabaseOn(server)
  progress(`run ${number}: filling the log`)
  const head = yield* Effect.provide(fill, layerPostgresAt(databaseUrl))
  const simulator = yield* Effect.orDie(startSimulator({ seed: "slow readers" }))
  const samplesFile = join(directory, "memory.ndjson")
  const columba = yield* ColumbaProcess.make({
    directory,
    env: {
      DATABASE_URL: databaseUrl,
      WHATSAPP_API_URL: simulator.url,
      NODE_OPTIONS: memoryProbe(samplesFile)
    }
  })
  yield* columba.start
  yield* addDevices(columba, devices)
  yield* until("every device is online", Effect.sync(() => simulator.core.stats().sockets === devices))
  const idle = yield* columba.residentMegabytes
  const port = Number(new URL(columba.url).port)

  progress(`run ${number}: ${streams} readers that do not read`)
  const healthy = yield* openSse(`${columba.url}/api/v1/events?after=${head}`)
  const delays: Array<number> = []
  yield* Effect.forkScoped(Effect.forever(Effect.map(healthy.next, (event: { recordedAt: string } | null) => {
    if (event !== null) delays.push(Date.now() - Date.parse(event.recordedAt))
  })))
  const sockets = new Set<Socket>()
  yield* Effect.addFinalizer(() => Effect.sync(() => sockets.forEach((socket) => socket.destroy())))
  let begun = 0
  for (let index = 0; index < streams; index++) openStuck(port, sockets, () => begun++)
  yield* until("all of them are open", Effect.sync(() => begun === streams))
  const loadAt = Date.now()
  delays.length = 0
  progress(`run ${number}: ${rate} events per second meanwhile`)
  simulator.core.emit({ rate })
  yield* Effect.sleep(`${seconds} seconds`)
  simulator.core.emitter.stop()
  const samples = readFileSync(samplesFile, "utf8").trimEnd().split("\n").map((line) => JSON.parse(line) as Sample)
  const peak = samples.reduce((highest, sample) => sample.rss > highest.rss ? sample : highest)
  const before = samples.filter(({ at }) => at < loadAt).reduce((max, { rss }) => Math.max(max, rss), 0)
  const sorted = delays.toSorted((left, right) => left - right)
  const megabytes = (bytes: number) => Math.round(bytes / 1024 / 1024)
  const { at, ...parts } = peak
  process.stdout.write(`${
    JSON.stringify({
      run: number,
      streams,
      rate,
      idle: Math.round(idle),
      peakBeforeLoad: megabytes(before),
      peak: Object.fromEntries(Object.entries(parts).map(([name, bytes]) => [name, megabytes(bytes)])),
      peakAfterLoadStarted: Math.round((at - loadAt) / 1000),
      delayMillis: { count: sorted.length, p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) },
      leftOpen: sockets.size
    })
  }\n`)
  return peak.rss <= residentMax
})

const main = Effect.gen(function*() {
  if (!isProgramCurrent()) yield* Effect.promise(() => buildProgram())
  const postgres = yield* PostgresServer.make
  let sound = true
  for (let number = 1; number <= Number(values.runs); number++) {
    if (!(yield* Effect.scoped(run(postgres.url, number)))) sound = false
  }
  return sound
})

process.exitCode = await Effect.runPromise(Effect.scoped(main)) ? 0 : 1
