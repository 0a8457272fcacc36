/**
 * The whole arrangement of a process test: a simulated gateway in the test process, the real program, the recorder
 * behind the broker, and the ledgers of all three.
 */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PGlite } from "@electric-sql/pglite"
import { Effect } from "effect"
import type { Scope } from "effect"
import { start as startSimulator } from "../../../src/simulator/SimulatedGateway.ts"
import type { SimulatorCore } from "../../../src/simulator/SimulatorCore.ts"
import type { Gap } from "../../../src/domain/Gap.ts"
import { check } from "../../support/Checker.ts"
import type { Verdict } from "../../support/Checker.ts"
import { checkGaps } from "../../support/GapChecker.ts"
import type { GapVerdict } from "../../support/GapChecker.ts"
import { toCommitted, toEmitted, logQuery, readLog } from "../../support/Ledger.ts"
import type { Committed, LogRow } from "../../support/Ledger.ts"
import * as ColumbaProcess from "./ColumbaProcess.ts"
import * as Recorder from "./Recorder.ts"
import { until } from "../../support/until.ts"

export interface Rig {
  readonly columba: ColumbaProcess.ColumbaProcess
  readonly recorder: Recorder.Recorder
  readonly simulator: SimulatorCore
  readonly directory: string
  /** Returns when every device has a socket and the program is ready. */
  readonly online: Effect.Effect<void>
  /** Returns when everything that was sent is in the log, and everything in the log was delivered by the broker. */
  readonly settled: Effect.Effect<void>
  /** Keeps the events that are committed now. They must never be missing later. */
  readonly witness: Effect.Effect<number>
  /** Stops the program in order and checks the ledgers. */
  readonly finish: Effect.Effect<{ readonly verdict: Verdict; readonly exited: ColumbaProcess.Exited }>
  /** The ledgers as they are now; the program must be down where the database is embedded. */
  readonly verdict: Effect.Effect<Verdict>
  /** Every gap that the program has written down, once it has accounted for all of them. */
  readonly gaps: Effect.Effect<ReadonlyArray<Gap>>
  /** Checks these gaps against the ledgers as they are now. */
  readonly gapVerdict: (gaps: ReadonlyArray<Gap>) => Effect.Effect<GapVerdict>
}

const auth = { user: "columba", password: "gateway-password" }

export const make = Effect.fnUntraced(function*(options: {
  /** Null: the embedded database. */
  readonly databaseUrl: string | null
  readonly rabbitUrl: string
  readonly devices: number
  readonly seed: string
}): Effect.fn.Return<Rig, never, Scope.Scope> {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-test-process-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const gateway = yield* Effect.orDie(startSimulator({ seed: options.seed, auth }))
  const recorder = yield* Recorder.make(options.rabbitUrl, directory)
  const columba = yield* ColumbaProcess.make({
    directory,
    env: {
      RABBITMQ_URL: options.rabbitUrl,
      WHATSAPP_API_URL: gateway.url,
      WHATSAPP_API_USER: auth.user,
      WHATSAPP_API_PASSWORD: auth.password,
      ...(options.databaseUrl === null ? undefined : { DATABASE_URL: options.databaseUrl })
    }
  })
  yield* columba.start
  const upstreamByDevice = yield* addDevices(columba, options.devices)
  const witnessed: Array<string> = []
  let witnessedTo = 0

  const simulator = gateway.core
  const online = until(
    "every device is online",
    Effect.sync(() => simulator.stats().sockets === options.devices)
  )
  const settled = Effect.andThen(
    until("nothing is on its way to the program", Effect.sync(() => waiting(simulator) === 0)),
    // The checker names what has not arrived within this time.
    Effect.timeoutOption(
      until(
        "the broker has given out the whole log",
        Effect.gen(function*() {
          if ((yield* columba.metric("columba_log_queue_events")) > 0) return false
          const page = yield* columba.get<EventsPage>(`/api/v1/events?after=${yield* recorder.highest}&limit=1`)
          return page.items.length === 0
        })
      ),
      "30 seconds"
    )
  )
  const witness = Effect.gen(function*() {
    for (;;) {
      const page = yield* columba.get<EventsPage>(`/api/v1/events?after=${witnessedTo}&limit=1000`)
      for (const event of page.items) witnessed.push(event.id)
      if (page.items.length === 0) return witnessed.length
      witnessedTo = Number(page.items.at(-1)!.seq)
    }
  })
  const committed = options.databaseUrl === null
    ? readEmbedded(join(directory, "data/pgdata"))
    : readLog(options.databaseUrl)
  const verdict = Effect.gen(function*() {
    yield* recorder.drained
    return check({
      emitted: simulator.ledger.entries().map(toEmitted),
      committed: yield* committed,
      delivered: yield* recorder.entries,
      streamed: null,
      witnessed,
      upstreamOf: upstreamByDevice
    })
  })
  const finish = Effect.gen(function*() {
    const exited = yield* columba.terminate
    return { exited, verdict: yield* verdict }
  })
  const gaps = Effect.gen(function*() {
    yield* until(
      "no gap is open",
      Effect.map(columba.get<GapPage>("/api/v1/gaps?status=open&limit=1"), ({ items }) => items.length === 0)
    )
    const all: Array<Gap> = []
    for (let cursor = "";;) {
      const { items, next } = yield* columba.get<GapPage>(`/api/v1/gaps?limit=1000${cursor}`)
      all.push(...items)
      if (next === null) return all
      cursor = `&cursor=${next}`
    }
  })
  const gapVerdict = (found: ReadonlyArray<Gap>) =>
    Effect.map(committed, (rows) =>
      checkGaps({
        emitted: simulator.ledger.entries().map(toEmitted),
        committed: rows,
        gaps: found,
        upstreamOf: upstreamByDevice
      }))
  yield* online
  return { columba, recorder, simulator, directory, online, settled, witness, finish, verdict, gaps, gapVerdict }
})

interface GapPage {
  readonly items: ReadonlyArray<Gap>
  readonly next: string | null
}

interface EventsPage {
  readonly items: ReadonlyArray<{ readonly id: string; readonly seq: string }>
}

const addDevices = Effect.fnUntraced(function*(columba: ColumbaProcess.ColumbaProcess, count: number) {
  const upstreamIds = Array.from({ length: count }, (_, index) => `slot-${index + 1}`)
  const pairs = yield* Effect.forEach(
    upstreamIds,
    (upstreamId) =>
      Effect.map(
        columba.post<{ readonly id: string }>("/api/v1/devices", { name: upstreamId, upstreamId }),
        ({ id }) => [id, upstreamId] as const
      ),
    { concurrency: 8 }
  )
  return new Map(pairs)
})

/** Bytes that the simulator has not yet been able to hand to its sockets. */
const waiting = (simulator: SimulatorCore): number => {
  let bytes = 0
  for (const device of simulator.devices.values()) for (const socket of device.sockets) bytes += socket.bufferedAmount
  return bytes
}

/** Opens the directory as the next program would. The program must have ended. */
const readEmbedded = (directory: string): Effect.Effect<ReadonlyArray<Committed>> =>
  Effect.acquireUseRelease(
    Effect.promise(() => PGlite.create(directory)),
    (database) =>
      Effect.promise(() => database.query<LogRow>(logQuery)).pipe(Effect.map(({ rows }) => rows.map(toCommitted))),
    (database) => Effect.promise(() => database.close())
  )
