/**
 * Columba as it runs in production, reduced to the measured parts: the fleet on a `bridge` gateway, the log on
 * Postgres, and the RabbitMQ sink if there is a broker. No HTTP, because it is not used.
 *
 * Latency is measured at existing interfaces: where a session pushes a draft to the log, where the store has committed
 * it, and where the sink's batch is confirmed. Without a broker nothing is wrapped.
 */
import { Effect, Layer, ManagedRuntime, Redacted, References, Schedule } from "effect"
import { SqlClient } from "effect/sql"
import { connect as connectBroker } from "amqplib"
import * as LocalFleet from "../../src/actors/fleet/LocalFleet.ts"
import * as SinkRelay from "../../src/actors/delivery/SinkRelay.ts"
import type { GatewayName } from "../../src/domain/Ids.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import * as HeapReturn from "../../src/layers/HeapReturn.ts"
import * as BridgeGateway from "../../src/layers/gateways/bridge/BridgeGateway.ts"
import * as Migrations from "../../src/layers/postgres/Migrations.ts"
import * as Postgres from "../../src/layers/postgres/Postgres.ts"
import * as SqlDeviceRepository from "../../src/layers/postgres/SqlDeviceRepository.ts"
import * as SqlGapRepository from "../../src/layers/postgres/SqlGapRepository.ts"
import * as SqlLogStore from "../../src/layers/postgres/SqlLogStore.ts"
import * as RabbitMq from "../../src/layers/rabbitmq/RabbitMq.ts"
import * as RabbitSink from "../../src/layers/rabbitmq/RabbitSink.ts"
import * as TopologyGuard from "../../src/layers/rabbitmq/TopologyGuard.ts"
import { incomingQueue } from "../../src/layers/rabbitmq/Topology.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import type { EventSink } from "../../src/services/EventSink.ts"
import { FleetSettings } from "../../src/services/FleetSettings.ts"
import * as GroupCommit from "../../src/log/GroupCommit.ts"
import { LogStore } from "../../src/log/LogStore.ts"
import { Latencies } from "../support/statistics.ts"
import type { PipelineHandlers, SocketsHandlers, SocketsOptions } from "../support/subjects.ts"
import { longestBlock, startBlocks } from "../support/loopBlocks.ts"
import { serveParent } from "../support/worker.ts"

/** Times at which frames arrived, by event id: of events not yet committed, and of events not yet confirmed. */
const unstored = new Map<string, number>()
const unpublished = new Map<string, number>()
const stored = new Latencies()
const published = new Latencies()
/** Off while throughput is measured: the two maps would add a cost that Columba does not have. */
let timing = false
let publishedCount = 0
let publishedWanted: { readonly count: number; readonly reached: () => void } | undefined

/** The log that the fleet uses: records when a message was pushed. Only decoding, some 10 µs, comes before. */
const observedLog = Layer.effect(
  EventLog,
  Effect.map(EventLog, (log) =>
    EventLog.of({
      ...log,
      push: (draft) => {
        if (timing && draft.kind === "message.received") {
          const now = performance.now()
          unstored.set(draft.id, now)
          unpublished.set(draft.id, now)
        }
        return log.push(draft)
      }
    }))
)

/** The store under the log: records when a batch is committed. */
const observedStore = Layer.effect(
  LogStore,
  Effect.map(LogStore, (store) =>
    LogStore.of({
      ...store,
      write: (batch) =>
        Effect.tap(
          store.write(batch),
          () => Effect.sync(() => settle(batch.groups.flatMap((group) => group.drafts), unstored, stored))
        )
    }))
)

/** The sink: records when a whole batch is confirmed. */
const observedSink = (sink: EventSink): EventSink => ({
  ...sink,
  publish: (events, attempt) =>
    Effect.tap(sink.publish(events, attempt), () =>
      Effect.sync(() => {
        settle(events, unpublished, published)
        for (const { kind } of events) if (kind === "message.received") publishedCount++
        if (publishedWanted !== undefined && publishedCount >= publishedWanted.count) {
          publishedWanted.reached()
          publishedWanted = undefined
        }
      }))
})

const settle = (
  events: ReadonlyArray<{ readonly id: string }>,
  waiting: Map<string, number>,
  latencies: Latencies
): void => {
  if (waiting.size === 0) return
  const now = performance.now()
  for (const { id } of events) {
    const from = waiting.get(id)
    if (from === undefined) continue
    waiting.delete(id)
    latencies.add(now - from)
  }
}

interface Options extends Omit<SocketsOptions, "paced"> {
  /** Whether connects are spread over time, as shipped. */
  readonly paced?: boolean
  readonly brokerUrl?: string
}

const makeLayer = (options: Options) => {
  const observed = options.brokerUrl !== undefined
  const store = observed ? observedStore.pipe(Layer.provide(SqlLogStore.layer)) : SqlLogStore.layer
  const log = GroupCommit.layer.pipe(Layer.provide(store), Layer.provide(Migrations.layer))
  const gateway = BridgeGateway.make({
    name: "default" as GatewayName,
    url: `${options.secure === true ? "https" : "http"}://127.0.0.1:${options.gatewayPort}`,
    user: "bench",
    password: Redacted.make("bench")
  })
  // Without a history, which a fleet reads at 50 requests per second for minutes after it has connected: the figures are
  // of the sockets, and would be of the history instead.
  const gateways = Layer.unwrap(Effect.map(gateway, ({ history, ...one }) => {
    const capabilities = { ...one.capabilities, history: history === undefined ? one.capabilities.history : null }
    return GatewayDirectory.layerFixed([{ ...one, capabilities }])
  }))
  const fleet = LocalFleet.layer.pipe(
    Layer.provide(gateways),
    Layer.provide(SqlDeviceRepository.layer),
    Layer.provide(SqlGapRepository.layer),
    Layer.provide(observed ? observedLog : Layer.empty)
  )
  const sinks = options.brokerUrl === undefined ? Layer.empty : SinkRelay.layer(
    Effect.map(RabbitSink.make, (sink) => [observedSink(sink)])
  ).pipe(
    Layer.provide(TopologyGuard.layer),
    Layer.provide(RabbitMq.layer({ url: Redacted.make(options.brokerUrl) }))
  )
  return Layer.mergeAll(fleet, sinks, Layer.effectDiscard(HeapReturn.make)).pipe(
    Layer.provideMerge(log),
    Layer.provideMerge(Postgres.layer(Redacted.make(options.databaseUrl))),
    Layer.provide(Layer.succeed(References.MinimumLogLevel, "Warn")),
    Layer.provide(options.paced === true ? Layer.empty : unpaced)
  )
}

/** All other settings are as shipped. */
const unpaced = Layer.effect(
  FleetSettings,
  Effect.map(FleetSettings, (shipped) => ({ ...shipped, connectsPerSecond: 1_000_000 }))
)

/** Inserts paired devices directly into the table: registering them is not measured. */
const register = Effect.fnUntraced(function*(count: number) {
  const sql = yield* SqlClient.SqlClient
  yield* sql`insert into devices (id, name, gateway, upstream_id, jid)
    select 'dev_' || lpad(i::text, 26, '0'), 'device ' || i, 'default', 'slot-' || lpad(i::text, 5, '0'),
      '62811' || lpad(i::text, 8, '0') || '@s.whatsapp.net'
    from generate_series(0, ${count - 1}::int) i`
})

/** Unconfirmed events, stored messages and queued messages, all as counted by the servers. */
const ledger = (brokerUrl: string) =>
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const log = yield* EventLog
    yield* log.flush
    const unsettled = sql<{ readonly count: number }>`
      select ((select max(seq) from events) - c.seq)::int as count from sink_cursors c where c.sink = ${RabbitSink.sinkName}`
    // The cursor is written a short time after the last confirm.
    const [{ count }] = yield* Effect.repeat(unsettled, {
      until: ([row]) => row?.count === 0,
      schedule: Schedule.spaced("20 millis"),
      times: 100
    })
    const [{ rows }] = yield* sql<
      { readonly rows: number }
    >`select count(*)::int as rows from events where message is not null`
    const { messageCount } = yield* Effect.promise(async () => {
      const connection = await connectBroker(brokerUrl)
      const channel = await connection.createChannel()
      const counted = await channel.checkQueue(incomingQueue)
      await connection.close()
      return counted
    })
    return { rows, unsettled: count, queued: messageCount }
  })

type App = ManagedRuntime.ManagedRuntime<DeviceFleet | EventLog | SqlClient.SqlClient, unknown>

let running: { readonly app: App; readonly options: Options } | undefined

const begin = async (options: Options): Promise<void> => {
  const app = ManagedRuntime.make(makeLayer(options))
  running = { app, options }
  await app.context()
}

const run = <A, E>(effect: Effect.Effect<A, E, DeviceFleet | EventLog | SqlClient.SqlClient>): Promise<A> => {
  if (running === undefined) throw new Error("Columba was not started")
  return running.app.runPromise(effect)
}

const connect = (count: number): Promise<void> =>
  run(Effect.andThen(register(count), Effect.flatMap(DeviceFleet, (fleet) => fleet.reconcile)))

const handlers = {
  start: async (options: Options & { readonly count?: number }): Promise<void> => {
    await begin(options)
    if (options.count !== undefined) await connect(options.count)
  },
  connect,
  register: (count: number) => run(register(count)),
  awaitPublished: (count: number): Promise<void> =>
    new Promise((resolve) => {
      if (publishedCount >= count) resolve()
      else publishedWanted = { count, reached: resolve }
    }),
  startBlocks,
  longestBlock,
  startLatencies: (): void => {
    timing = true
    stored.clear()
    published.clear()
  },
  latencies: () => ({ stored: stored.summary(), published: published.summary() }),
  ledger: () => run(ledger(running?.options.brokerUrl ?? ""))
} satisfies SocketsHandlers & PipelineHandlers
export type ColumbaHandlers = typeof handlers

const coldStart = process.env["BENCH_COLD_START"]
if (coldStart !== undefined) await begin(JSON.parse(coldStart) as Options)
serveParent(handlers)
