/**
 * The whole arrangement of a process test: a simulated gateway in the test process, the real program in one process or
 * two, the recorder behind the broker, and the ledgers of all.
 */
import { join } from "node:path"
import { PGlite } from "@electric-sql/pglite"
import { Duration, Effect } from "effect"
import type { Scope } from "effect"
import { seeded } from "../../../src/simulator/Seeded.ts"
import { start as startSimulator } from "../../../src/simulator/SimulatedGateway.ts"
import type { SimulatorOptions } from "../../../src/simulator/SimulatedGateway.ts"
import type { SimulatorCore } from "../../../src/simulator/SimulatorCore.ts"
import type { Gap } from "../../../src/domain/Gap.ts"
import { check } from "../../support/Checker.ts"
import type { Verdict } from "../../support/Checker.ts"
import { freshDirectory } from "../../support/directory.ts"
import * as FaultProxy from "../../support/FaultProxy.ts"
import { checkGaps } from "../../support/GapChecker.ts"
import type { GapVerdict } from "../../support/GapChecker.ts"
import { toCommitted, toEmitted, logQuery, readLog } from "../../support/Ledger.ts"
import type { Committed, LogRow } from "../../support/Ledger.ts"
import * as ColumbaProcess from "./ColumbaProcess.ts"
import * as Recorder from "./Recorder.ts"
import { until } from "../../support/until.ts"
import { addDevices, makeWitness, readEvents, readGaps, webhooksAreSet } from "./viaApi.ts"

export interface RigOptions {
  /** Null: the embedded database. */
  readonly databaseUrl: string | null
  /** Null: no broker. */
  readonly rabbitUrl: string | null
  readonly devices: number
  readonly seed: string
  readonly simulator?: SimulatorOptions
  readonly env?: Readonly<Record<string, string>>
  /** The devices run in another process than the one that answers requests and accepts webhooks. */
  readonly apart?: boolean
}

export interface KillsUnderLoad {
  readonly kills: number
  /** Events emitted between two kills. */
  readonly each: number
  /** Events per second. */
  readonly rate: number
  /** Before each kill. */
  readonly before?: Effect.Effect<void>
}

export interface Rig {
  /** The process that answers requests. */
  readonly columba: ColumbaProcess.ColumbaProcess
  readonly simulator: SimulatorCore
  /** The path of the webhooks, from the gateway to the program. */
  readonly webhooks: FaultProxy.FaultProxy
  readonly directory: string
  /** Returns when the gateway sends the events of every device to the program. */
  readonly online: Effect.Effect<void>
  /** Returns when this many events were emitted since the start. */
  readonly emitted: (count: number) => Effect.Effect<void>
  /** Returns when this many more events are in the log than now. Needs a program that answers. */
  readonly logged: (more: number) => Effect.Effect<void>
  /**
   * Emits `kills + 1` times `each` events. In the middle of each part but the last the program is killed and started,
   * once about half of the part is in the log: so it works between the kills, however slow the machine is. Returns the
   * milliseconds that each start took.
   */
  readonly killedUnderLoad: (load: KillsUnderLoad) => Effect.Effect<ReadonlyArray<number>>
  /** Returns when all sent events are in the log, and the broker has delivered all events of the log. */
  readonly settled: Effect.Effect<void>
  /** Returns once the broker has delivered the first event. */
  readonly delivering: Effect.Effect<void>
  /** Keeps the events that are committed now. They must never be missing later. */
  readonly witness: Effect.Effect<void>
  /** Stops the program in order and checks the ledgers. */
  readonly finish: Effect.Effect<{ readonly verdict: Verdict; readonly exited: ColumbaProcess.Exited }>
  /** The ledgers as they are now; the program must be down where the database is embedded. */
  readonly verdict: Effect.Effect<Verdict>
  /** Every gap that the program has recorded, once it has accounted for all of them. */
  readonly gaps: Effect.Effect<ReadonlyArray<Gap>>
  /** Checks these gaps against the ledgers as they are now. */
  readonly gapVerdict: (gaps: ReadonlyArray<Gap>) => Effect.Effect<GapVerdict>
}

const auth = { user: "columba", password: "gateway-password" }

export const make = Effect.fnUntraced(function*(options: RigOptions): Effect.fn.Return<Rig, never, Scope.Scope> {
  const { apart = false, databaseUrl, devices, rabbitUrl, seed } = options
  const directory = yield* freshDirectory
  const { core: simulator, url } = yield* Effect.orDie(startSimulator({ seed, auth, ...options.simulator }))
  const posts = options.simulator?.dialect === "gowa"
  const recorder = rabbitUrl === null ? null : yield* Recorder.make(rabbitUrl, directory)
  const env: Record<string, string> = {
    ...(databaseUrl === null ? undefined : { DATABASE_URL: databaseUrl }),
    ...(rabbitUrl === null ? undefined : { RABBITMQ_URL: rabbitUrl }),
    WHATSAPP_API_URL: url,
    WHATSAPP_API_DIALECT: options.simulator?.dialect ?? "bridge",
    WHATSAPP_API_USER: auth.user,
    WHATSAPP_API_PASSWORD: auth.password,
    COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
    ...options.env
  }
  const withRoles = (roles: string) => apart ? { ...env, COLUMBA_ROLES: roles } : env
  const columba = yield* ColumbaProcess.make({ directory, env: withRoles("api") })
  const webhooks = yield* FaultProxy.make({ host: "127.0.0.1", port: Number(new URL(columba.url).port) })
  if (posts) env["COLUMBA_PUBLIC_URL"] = `http://127.0.0.1:${webhooks.port}`
  const fleet = apart
    ? yield* ColumbaProcess.make({ directory: yield* freshDirectory, env: withRoles("devices,scheduler") })
    : columba
  yield* columba.start
  if (apart) yield* fleet.start
  const upstreamOf = yield* addDevices(columba, devices)
  const witness = makeWitness()

  const online = until(
    "every device is online",
    posts ? webhooksAreSet(fleet, devices) : Effect.sync(() => simulator.stats().sockets === devices)
  )
  const delivered = (read: Recorder.Recorder) =>
    Effect.gen(function*() {
      const { items } = yield* readEvents(columba, yield* read.highest, 1)
      return items.length === 0
    })
  const head = Effect.map(
    columba.get<{ readonly head: string }>("/api/v1/server/overview"),
    (overview) => Number(overview.head)
  )
  const logged = Effect.fnUntraced(function*(more: number) {
    const wanted = (yield* head) + more
    yield* until(`${more} more events are in the log`, Effect.map(head, (reached) => reached >= wanted))
  })
  const random = seeded(seed)
  const killedUnderLoad = Effect.fnUntraced(function*({ before = Effect.void, each, kills, rate }: KillsUnderLoad) {
    const restarts: Array<number> = []
    for (let kill = 0; kill < kills; kill++) {
      simulator.emit({ count: each, rate })
      yield* logged(Math.floor((0.3 + random.next() * 0.5) * each))
      yield* before
      yield* columba.kill
      const [duration] = yield* Effect.timed(columba.start)
      restarts.push(Math.round(Duration.toMillis(duration)))
      yield* online
    }
    simulator.emit({ count: each, rate })
    yield* until("everything was emitted", Effect.sync(() => simulator.stats().jobs.length === 0))
    return restarts
  })
  const settled = Effect.gen(function*() {
    yield* until("nothing is on its way to the program", Effect.sync(() => waiting(simulator) === 0))
    yield* until(
      "the log has written everything",
      Effect.map(columba.metric("columba_log_queue_events"), (count) => count === 0)
    )
    if (recorder === null) return
    // The checker names what has not arrived within this time.
    yield* Effect.timeoutOption(until("the broker has given out the whole log", delivered(recorder)), "150 seconds")
  })
  const committed = databaseUrl === null ? readEmbedded(join(directory, "data/pgdata")) : readLog(databaseUrl)
  const verdict = Effect.gen(function*() {
    if (recorder !== null) yield* recorder.drained
    return check({
      emitted: simulator.ledger.entries().map(toEmitted),
      committed: yield* committed,
      delivered: recorder === null ? null : yield* recorder.entries,
      streamed: null,
      witnessed: witness.events.map(({ id }) => id),
      upstreamOf
    })
  })
  yield* online
  return {
    columba,
    simulator,
    webhooks,
    directory,
    online,
    emitted: (count) =>
      until(`${count} events were emitted`, Effect.sync(() => simulator.ledger.count >= count), "120 seconds"),
    logged,
    killedUnderLoad,
    settled,
    delivering: until(
      "the broker gives out events",
      recorder === null ? Effect.succeed(true) : Effect.map(recorder.highest, (seq) => seq > 0)
    ),
    witness: witness.lookAt(columba),
    finish: Effect.gen(function*() {
      const exited = yield* columba.terminate
      if (apart) yield* fleet.terminate
      return { exited, verdict: yield* verdict }
    }),
    verdict,
    gaps: readGaps(columba),
    gapVerdict: (gaps) =>
      Effect.map(
        committed,
        (rows) => checkGaps({ emitted: simulator.ledger.entries().map(toEmitted), committed: rows, gaps, upstreamOf })
      )
  }
})

/** Bytes that the simulator has not yet been able to write to its sockets. */
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
