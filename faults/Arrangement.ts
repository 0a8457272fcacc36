/**
 * The processes of one row: the built program, the simulated gateway, a recorder behind the broker, a reader of the event stream,
 * the endpoint of a subscription and in some rows a consumer, each separate, with a proxy in front of each service that the
 * program uses. The harness gets its evidence only from the ledgers of these parties.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect } from "effect"
import type { Scope } from "effect"
import type { Gap } from "../src/domain/Gap.ts"
import type { Handled, Ledgers } from "../test/support/Checker.ts"
import type { GapLedgers } from "../test/support/GapChecker.ts"
import * as FaultProxy from "../test/support/FaultProxy.ts"
import { query, readLog, readLoggedMessages, readRegressed } from "../test/support/Ledger.ts"
import * as ColumbaProcess from "../test/process/support/ColumbaProcess.ts"
import * as Recorder from "../test/process/support/Recorder.ts"
import { addDevices } from "../test/process/support/viaApi.ts"
import { until } from "../test/support/until.ts"
import type { SendLedgers } from "../test/support/SendChecker.ts"
import { listUnrecovered } from "../test/support/upstream.ts"
import * as Cluster from "./cluster/Cluster.ts"
import type { Part, Scenario } from "./Scenario.ts"
import * as Servers from "./Servers.ts"
import { plantVariable } from "./planted.ts"
import * as Endpoint from "./parties/Endpoint.ts"
import * as SampleConsumer from "./parties/SampleConsumer.ts"
import * as SendingClient from "./parties/SendingClient.ts"
import * as SimulatorProcess from "./parties/SimulatorProcess.ts"
import * as StreamReader from "./parties/StreamReader.ts"

export interface Arrangement {
  readonly servers: Servers.Servers
  readonly databaseUrl: string
  readonly rabbitUrl: string
  readonly vhost: string
  /** All nodes behind their balancer, where the row has a cluster. */
  readonly columba: ColumbaProcess.ColumbaProcess
  readonly cluster: Cluster.Cluster | null
  readonly simulator: SimulatorProcess.SimulatorProcess
  readonly recorder: Recorder.Recorder
  readonly reader: StreamReader.StreamReader
  readonly endpoint: Endpoint.Endpoint | null
  readonly consumer: SampleConsumer.SampleConsumer | null
  /** The client that has messages sent; null in rows without. It begins with the load. */
  readonly sending: Effect.Effect<SendingClient.SendingClient, never, Scope.Scope> | null
  readonly proxies: Readonly<Record<Part, FaultProxy.FaultProxy>>
  readonly devices: ReadonlyMap<string, string>
  /** Shifts the program's wall clock by this many seconds. */
  readonly stepClock: (seconds: number) => Effect.Effect<void>
  /** While it exists, the planted place acts. */
  readonly plantFile: string
  /** While it exists, the handler refuses its messages. */
  readonly refusesFile: string
  /** While it exists, the name of the gateway has no address. */
  readonly namesFile: string
  /** The file to which the program writes a heap snapshot on request. */
  readonly heapFile: string
  /** The `main.js` with the row's planted change; null without one. */
  readonly plantedProgram: string | null
  readonly ready: Effect.Effect<void>
  /** Whether every device receives. */
  readonly online: Effect.Effect<boolean>
  /** The number of the newest event in the log. */
  readonly head: Effect.Effect<number>
  /** Number of events that the subscription's endpoint has still to receive. */
  readonly behind: Effect.Effect<number>
  /** Records the currently committed events. They must never be missing later. */
  readonly witness: Effect.Effect<void>
  /** Events that are in the log now may never reach the consumer. */
  readonly forgetConsumed: Effect.Effect<void>
  /**
   * How many messages of the gateway's history are not in the log. Asked again and again, so it reads no more than it needs:
   * the nodes of a cluster reach their database through this process, and lose their leases while it computes.
   */
  readonly unrecovered: Effect.Effect<number>
  /** The current ledgers. */
  readonly ledgers: Effect.Effect<AllLedgers>
}

export type AllLedgers = Ledgers & GapLedgers & {
  /** The messages that a client has had sent; null where there are none. */
  readonly sends: SendLedgers | null
}

const handlerModule = join(import.meta.dirname, "program/handler.mjs")

const readHandled = (databaseUrl: string): Effect.Effect<Handled> =>
  Effect.all({
    noted: query<{ readonly id: string }>(
      databaseUrl,
      "select event_id::text as id from message_inbox where state = 'done'"
    ),
    written: query<{ readonly id: string }>(databaseUrl, "select device || ' ' || wa_id as id from shop_messages")
  }).pipe(Effect.map(({ noted, written }) => ({
    noted: noted.map(({ id }) => id),
    written: written.map(({ id }) => id)
  })))

const preloads = ["clockShift.mjs", "names.mjs", "probe.mjs"]
  .map((name) => `--import=${join(import.meta.dirname, "program", name)}`).join(" ")

/** Ready, also in a state that only an operator could improve: after a fault the program must become ready by itself. */
const readyTimeout = "120 seconds"

export const make = Effect.fnUntraced(function*(
  scenario: Scenario,
  seed: string,
  servers: Servers.Servers,
  programs: { readonly program: string; readonly planted: string | null }
): Effect.fn.Return<Arrangement, never, Scope.Scope> {
  const directory = yield* Effect.acquireRelease(
    Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-faults-"))),
    (path) => Effect.sync(() => rmSync(path, { recursive: true, force: true }))
  )
  const { databaseUrl, rabbitUrl } = yield* Servers.freshPlaces(servers)
  const { dialect } = scenario
  const isLater = scenario.faults.some(({ fault }) => fault.do === "migrate")
  const program = isLater ? programs.program : programs.planted ?? programs.program
  const simulator = yield* SimulatorProcess.make({
    program: programs.program,
    directory,
    seed,
    dialect,
    // Each node has its own address at the gateway.
    ...(scenario.cluster === undefined ? {} : { host: "0.0.0.0" })
  })
  const endpoint = scenario.noEndpoint === true ? null : yield* Endpoint.make(seed)
  const toServers = {
    database: yield* before(databaseUrl),
    broker: yield* before(rabbitUrl),
    gateway: yield* before(`http://127.0.0.1:${simulator.port}`),
    endpoint: yield* before(`http://127.0.0.1:${endpoint?.port ?? simulator.port}`)
  }
  const file = (name: string) => join(directory, name)
  const [clockFile, plantFile, namesFile, heapFile, refusesFile] = [
    file("clock"),
    file("plant"),
    file("names"),
    file("heap"),
    file("refuses")
  ] as const
  const recorder = yield* Recorder.make(rabbitUrl, directory)
  const env: Record<string, string> = {
    DATABASE_URL: through(databaseUrl, toServers.database),
    RABBITMQ_URL: through(rabbitUrl, toServers.broker),
    WHATSAPP_API_URL: `http://gateway.test:${scenario.cluster === undefined ? toServers.gateway.port : simulator.port}`,
    WHATSAPP_API_DIALECT: dialect,
    ...SimulatorProcess.credentials[dialect],
    COLUMBA_SECRET_KEY: Buffer.alloc(32, 7).toString("base64"),
    COLUMBA_WEBHOOK_ALLOW_PRIVATE: "true",
    COLUMBA_FAULTS_CLOCK: clockFile,
    COLUMBA_FAULTS_NAMES: namesFile,
    COLUMBA_FAULTS_HEAP: heapFile,
    [plantVariable]: plantFile,
    ...(scenario.handler === true
      ? { COLUMBA_HANDLERS: handlerModule, COLUMBA_FAULTS_REFUSES: refusesFile }
      : undefined),
    ...scenario.env,
    NODE_OPTIONS: `${preloads} ${scenario.env?.["NODE_OPTIONS"] ?? ""}`
  }
  const cluster = scenario.cluster === undefined ? null : yield* Cluster.make({
    settings: scenario.cluster,
    databaseUrl,
    simulator,
    devices: scenario.load.devices,
    bySocket: dialect !== "gowa",
    program,
    env
  })
  const columba = cluster?.program ??
    (yield* ColumbaProcess.make({ directory, program, wrapper: scenario.wrapper, env }))
  const proxies = { ...toServers, webhooks: yield* before(columba.url) }
  if (dialect === "gowa") env["COLUMBA_PUBLIC_URL"] = `http://127.0.0.1:${proxies.webhooks.port}`
  if (scenario.handler === true) {
    yield* query(
      databaseUrl,
      "create table shop_messages (device text not null, chat text not null, wa_id text not null, body text)"
    )
  }
  yield* columba.start
  const consumer = scenario.consumer === true ? yield* SampleConsumer.make(rabbitUrl, directory) : null
  // A balancer cuts connections to a node that is slow to answer.
  const devices = yield* addDevices(cluster?.nodes[0] ?? columba, scenario.load.devices)
  const subscription = endpoint === null ? null : yield* columba.post<Subscription>("/api/v1/subscriptions", {
    url: `http://127.0.0.1:${proxies.endpoint.port}/hook`,
    from: "beginning"
  })
  const reader = yield* StreamReader.make(columba.url)
  const consumed = { from: 0 }
  let client: SendingClient.SendingClient | null = null
  const sending = scenario.sends === undefined ? null : Effect.map(
    SendingClient.make({
      columba,
      devices: [...devices.keys()],
      count: scenario.sends,
      millis: scenario.load.events / scenario.load.rate * 1000
    }),
    (made) => client = made
  )
  const readSends = (sent: SendLedgers["sent"]) =>
    client === null
      ? Effect.succeed(null)
      : Effect.all({ accepted: client.accepted, statuses: client.statuses, sent: Effect.succeed(sent) })
  const witnessed = new Set<string>()
  let witnessedTo = 0

  const ready = until(
    "the program is ready",
    cluster === null ? Effect.map(columba.readiness, (answer) => answer?.status === 200) : cluster.shared,
    readyTimeout
  )
  /** From the gateway's point of view where it has a socket per device; else from the program's. */
  const receiving = cluster !== null ? cluster.shared : dialect === "gowa"
    ? Effect.map(
      columba.metric(`columba_device_webhooks{gateway="default",status="set"}`),
      (set) => set === scenario.load.devices
    )
    : Effect.map(simulator.stats, (stats) => stats.sockets === scenario.load.devices)
  const page = (after: number, limit: number) => columba.get<EventsPage>(`/api/v1/events?after=${after}&limit=${limit}`)
  const witness = Effect.gen(function*() {
    for (;;) {
      const { items } = yield* page(witnessedTo, witnessPage)
      for (const event of items) witnessed.add(event.id)
      if (items.length < witnessPage) return
      witnessedTo = Number(items.at(-1)!.seq)
    }
  })
  const head = cluster === null
    ? columba.metric("columba_log_head")
    : Effect.map(
      query<{ readonly head: number }>(databaseUrl, "select coalesce(max(seq), 0)::float8 as head from events"),
      ([row]) => row?.head ?? 0
    )
  return {
    servers,
    databaseUrl,
    rabbitUrl,
    vhost: decodeURIComponent(new URL(rabbitUrl).pathname.slice(1)),
    columba,
    cluster,
    simulator,
    recorder,
    reader,
    endpoint,
    consumer,
    sending,
    proxies,
    devices,
    plantFile,
    refusesFile,
    namesFile,
    heapFile,
    plantedProgram: programs.planted,
    stepClock: (seconds) => Effect.sync(() => writeFileSync(clockFile, String(seconds))),
    ready,
    online: receiving,
    head,
    behind: subscription === null
      ? Effect.succeed(0)
      : Effect.map(
        columba.get<Subscription>(`/api/v1/subscriptions/${subscription.id}`),
        ({ behind, health }) => behind + health.held.length
      ),
    witness,
    forgetConsumed: Effect.map(head, (seq) => {
      consumed.from = seq
    }),
    unrecovered: Effect.gen(function*() {
      const { emitted } = yield* simulator.ledger
      return listUnrecovered({ emitted, committed: yield* readLoggedMessages(databaseUrl), upstreamOf: devices }).length
    }),
    ledgers: consistent(
      head,
      Effect.gen(function*() {
        const { emitted, sent } = yield* simulator.ledger
        return {
          gaps: yield* readGaps(columba),
          byWebhook: dialect === "gowa",
          emitted,
          sends: yield* readSends(sent),
          handled: scenario.handler === true ? yield* readHandled(databaseUrl) : null,
          committed: yield* readLog(databaseUrl),
          regressed: yield* readRegressed(databaseUrl),
          delivered: yield* recorder.entries,
          posted: endpoint === null ? null : yield* endpoint.entries,
          forged: endpoint === null || subscription === null ? [] : yield* endpoint.forged(subscription.secret),
          consumed: consumer === null ? null : { from: consumed.from, ...(yield* consumer.ledger) },
          streamed: yield* reader.entries,
          witnessed: [...witnessed],
          upstreamOf: devices,
          // Each socket of a device receives its events.
          sentTwice: cluster !== null ||
            scenario.faults.some(({ fault }) => fault.do === "fault gateway" && fault.fault.kind === "duplicate")
        }
      })
    )
  }
})

/** Maximum number of readings: ledgers that are read while the log grows do not match, and are read again. */
const readsMax = 5

const consistent = <A>(head: Effect.Effect<number>, read: Effect.Effect<A>) =>
  Effect.gen(function*() {
    for (let reads = 1;; reads++) {
      const before = yield* head
      const ledgers = yield* read
      if (reads === readsMax || (yield* head) === before) return ledgers
    }
  })

interface Subscription {
  readonly id: string
  readonly secret: string
  readonly behind: number
  /** Devices that are held back do not count as behind. */
  readonly health: { readonly held: ReadonlyArray<unknown> }
}

interface GapsPage {
  readonly items: ReadonlyArray<Gap>
  readonly next: string | null
}

const readGaps = Effect.fnUntraced(function*(columba: ColumbaProcess.ColumbaProcess) {
  const gaps: Array<Gap> = []
  for (let cursor = "";;) {
    const page: GapsPage = yield* columba.get<GapsPage>(`/api/v1/gaps?limit=1000${cursor}`)
    gaps.push(...page.items)
    if (page.next === null) return gaps
    cursor = `&cursor=${encodeURIComponent(page.next)}`
  }
})

const witnessPage = 1_000

interface EventsPage {
  readonly items: ReadonlyArray<{ readonly id: string; readonly seq: string }>
}

const before = (url: string) => {
  const { hostname, port } = new URL(url)
  return FaultProxy.make({ host: hostname, port: Number(port) })
}

const through = (url: string, proxy: FaultProxy.FaultProxy): string => {
  const changed = new URL(url)
  changed.port = String(proxy.port)
  return changed.href
}
