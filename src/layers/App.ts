/**
 * The composition root: which parts run in this process, and in which order they start and stop.
 *
 * The start order is foundation (database, log, repositories, gateways), the broker's connection, HTTP, the fleet's lease,
 * relays to sinks and the consumer, fleet. The stop order is the reverse, so that work in flight completes: readiness reports
 * that the process stops, the fleet closes its sockets (no new frames), the log is flushed, the relays wait for their confirms,
 * HTTP ends its streams, and the database closes last. HTTP starts before the fleet: a port that is in use costs no device its
 * connection, and readiness shows what is still starting.
 */
import { Context, DateTime, Effect, Layer, Scope } from "effect"
import { HttpServer } from "effect/http"
import { hostname } from "node:os"
import * as LeasedFleet from "../actors/fleet/LeasedFleet.ts"
import * as LocalFleet from "../actors/fleet/LocalFleet.ts"
import type { Part } from "../actors/fleet/singletons.ts"
import * as UnansweredWebhooks from "../actors/gateway/UnansweredWebhooks.ts"
import { StreamsMax } from "../http/OpenStreams.ts"
import { HealthServerLayer, HttpServerLayer } from "../http/Routes.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceStateTag } from "../domain/DeviceState.ts"
import type { Gateway } from "../domain/Gateway.ts"
import { ApiKeys } from "../services/ApiKeys.ts"
import { BrokerStatus } from "../services/BrokerStatus.ts"
import type { BrokerState } from "../services/BrokerStatus.ts"
import { DeviceFleet } from "../services/DeviceFleet.ts"
import type { IncidentView } from "../services/DeviceFleet.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import { EventLog } from "../services/EventLog.ts"
import { FleetLease } from "../services/FleetLease.ts"
import type { Lease } from "../services/FleetLease.ts"
import { FleetSettings } from "../services/FleetSettings.ts"
import { GatewayDirectory } from "../services/GatewayDirectory.ts"
import { KeyDirectory } from "../services/KeyDirectory.ts"
import { KeyManager } from "../services/KeyManager.ts"
import { MessageActions } from "../services/MessageActions.ts"
import { MessageSender } from "../services/MessageSender.ts"
import { LogStatus } from "../services/LogStatus.ts"
import { PublicAddress } from "../services/PublicAddress.ts"
import { Readiness } from "../services/Readiness.ts"
import { ScheduleManager } from "../services/ScheduleManager.ts"
import { SendSettings } from "../services/SendSettings.ts"
import { ServerIdentity } from "../services/ServerIdentity.ts"
import { SubscriptionManager } from "../services/SubscriptionManager.ts"
import { makeLateRelays, SinkRelays } from "../services/SinkRelays.ts"
import type { SinkView } from "../services/SinkRelays.ts"
import { SlotLookup } from "../services/SlotLookup.ts"
import { WebAssets } from "../services/WebAssets.ts"
import { WebhookIngest } from "../services/WebhookIngest.ts"
import * as Demo from "../simulator/Demo.ts"
import type { SimulatorHandle } from "../simulator/SimulatedGateway.ts"
import { describeDatabase, redactedAddress } from "./app/addresses.ts"
import { deadLetters, openBroker, OpenedBroker } from "./app/broker.ts"
import { clusterClient, clusterFleet } from "./app/cluster.ts"
import { consume, loadHandlers } from "./app/consumer.ts"
import { databaseReadiness, openStorage } from "./app/database.ts"
import { makeGateways, startSimulator } from "./app/gateways.ts"
import { filesToSend, messageMedia } from "./app/media.ts"
import { sharedPacing } from "./app/pacing.ts"
import { listChores, listDeliveries } from "./app/parts.ts"
import { fleetStopMax, makeStages, nodeStopMax, stopInOrder } from "./app/stages.ts"
import { StartFailed, startFailed } from "./app/StartFailed.ts"
import { readBuiltPages } from "./files/builtPages.ts"
import * as HeapReturn from "./HeapReturn.ts"
import * as Outbound from "./outbound/Outbound.ts"
import type { Settings } from "./Settings.ts"

/** Figures that change while the process runs. */
export interface Stats {
  readonly online: number
  readonly devices: number
  /** The newest number of the log: events committed, ever. Null while the database does not answer. */
  readonly committed: number | null
  readonly sinks: ReadonlyArray<SinkView>
  readonly incidents: ReadonlyArray<IncidentView>
  /** Null where this process delivers to no broker. */
  readonly broker: BrokerState | null
}

export interface App {
  readonly settings: Settings
  /** The address on which the server listens. */
  readonly url: string
  /** The built-in simulator, where this process runs it. */
  readonly simulatorUrl: string | null
  /** The gateways in the database at the start. */
  readonly gateways: ReadonlyArray<Pick<Gateway, "name" | "dialect" | "url" | "active" | "source">>
  /** How many demo devices this start added. */
  readonly demoDevices: number
  /** Number of simulated devices in the database that do not run, because this process runs no simulator. */
  readonly retiredDevices: number
  /** The names of the consumer's handlers. */
  readonly handlers: ReadonlyArray<string>
  readonly log: EventLog["Service"]
  readonly stats: Effect.Effect<Stats>
  /** Stops everything in order. Logs each step; each part has its own time limit. */
  readonly stop: Effect.Effect<void>
}

/** A cluster node that runs devices is named by the address where the others reach it. */
const nodeName = ({ cluster, roles }: Pick<Settings, "cluster" | "roles">): string =>
  cluster !== null && roles.has("devices") ? `${cluster.host}:${cluster.port}` : hostname()

const identity = (settings: Settings, version: string): Layer.Layer<ServerIdentity> =>
  Layer.effect(
    ServerIdentity,
    Effect.map(DateTime.now, (now) =>
      ServerIdentity.of({
        version,
        node: nodeName(settings),
        startedAt: DateTime.formatIso(now),
        roles: [...settings.roles],
        database: describeDatabase(settings.database),
        broker: settings.rabbitUrl === null ? null : `RabbitMQ at ${redactedAddress(settings.rabbitUrl)}`
      }))
  )

/** Adds the demo devices where the simulator runs; elsewhere counts those that do not run without it. */
const prepareDemo = Effect.fnUntraced(function*(settings: Settings, simulator: SimulatorHandle | null) {
  if (settings.gateway._tag === "Simulator" && simulator !== null) {
    return { added: yield* Demo.seed(simulator, settings.gateway.demoDevices), retired: 0 }
  }
  const hosts = settings.roles.has("devices") && settings.gateway._tag !== "Simulator"
  return { added: 0, retired: hosts ? yield* Demo.countSimulated : 0 }
}, Effect.mapError((error) => startFailed(error, null)))

const apiKeys = ({ apiKeys: keys }: Settings) => Layer.succeed(ApiKeys, ApiKeys.of({ keys }))

const sendSettings = ({ pacing }: Settings) =>
  Layer.effect(SendSettings, Effect.map(SendSettings, (usual) => ({ ...usual, pacing })))

/**
 * Starts the parts that the roles ask for. If the scope closes without `stop`, the parts end in the same order, each
 * within its own time limit.
 */
export const start = Effect.fn("App.start")(function*(
  settings: Settings,
  version: string
): Effect.fn.Return<App, StartFailed, Scope.Scope> {
  const stages = yield* makeStages
  const on = <A, E, R>(stage: Scope.Scope, layer: Layer.Layer<A, E, R>) => Layer.buildWithScope(layer, stage)

  const database = yield* Scope.provide(openStorage(settings.database), stages.foundation)
  const basics = yield* on(
    stages.foundation,
    Layer.mergeAll(
      identity(settings, version),
      Readiness.layer,
      apiKeys(settings),
      sendSettings(settings),
      Layer.succeed(PublicAddress, settings.publicUrl)
    )
  )
  const keys = yield* Effect.provideContext(
    on(stages.foundation, Layer.provideMerge(KeyManager.layer, KeyDirectory.layer)),
    Context.merge(database, basics)
  ).pipe(Effect.mapError((error) => startFailed(error, null)))
  const simulator = yield* Scope.provide(startSimulator(settings), stages.foundation)
  const gateways = yield* Effect.provideContext(on(stages.foundation, makeGateways(settings, simulator)), database)
  const outbound = yield* on(stages.foundation, Outbound.layer({ allowPrivate: settings.outboundAllowPrivate }))
  const files = yield* on(stages.foundation, filesToSend(settings))
  const shared = yield* Effect.provideContext(on(stages.foundation, sharedPacing(settings)), basics)
  const ground = Context.mergeAll(database, basics, keys, gateways, outbound, files, shared)
  const readiness = Context.get(ground, Readiness)
  const leased = LeasedFleet.make()
  const fleet = Context.make(DeviceFleet, leased.fleet)
  const media = yield* Effect.provideContext(on(stages.foundation, messageMedia(settings)), ground)
  const manager = yield* Effect.provideContext(
    on(stages.foundation, DeviceManager.layer),
    Context.mergeAll(ground, fleet, media)
  )
  const webhooks = yield* Effect.provideContext(
    on(stages.foundation, Layer.provide(WebhookIngest.layer, SlotLookup.layer)),
    Context.merge(ground, fleet)
  )
  if (settings.roles.has("api")) yield* Effect.provideContext(on(stages.foundation, UnansweredWebhooks.layer), ground)
  const sender = yield* Effect.provideContext(
    on(
      stages.foundation,
      Layer.merge(Layer.provideMerge(ScheduleManager.layer, MessageSender.layer), MessageActions.layer)
    ),
    ground
  )
  const subscriptions = yield* Effect.provideContext(on(stages.foundation, SubscriptionManager.layer), ground)
  const late = makeLateRelays()
  const served = Context.mergeAll(
    ground,
    fleet,
    manager,
    webhooks,
    sender,
    subscriptions,
    media,
    Context.make(SinkRelays, late.relays),
    Context.make(WebAssets, yield* readBuiltPages)
  )
  yield* Effect.provideContext(on(stages.foundation, Layer.merge(databaseReadiness, LogStatus.readiness)), ground)
  yield* readiness.contribute("process", Effect.fail("starting"))

  const handlers = yield* Effect.provideContext(loadHandlers(settings), Context.merge(ground, sender))
  const broker = Context.get(
    yield* Effect.provideContext(on(stages.broker, openBroker(settings, handlers.length > 0)), ground),
    OpenedBroker
  )

  const dead = yield* Effect.provideContext(on(stages.broker, deadLetters(broker)), ground)

  const server = settings.roles.has("api") ? HttpServerLayer(settings) : HealthServerLayer(settings)
  const url = yield* on(stages.http, server).pipe(
    Effect.map((context) => HttpServer.formatAddress(Context.get(context, HttpServer.HttpServer).address)),
    Effect.provideContext(Context.merge(served, dead)),
    Effect.provideService(StreamsMax, settings.streams),
    Effect.mapError(({ cause }) => listenFailed(settings, cause))
  )

  // Before the fleet's first comparison, so that it starts all of them in it.
  const demo = yield* Effect.provideContext(prepareDemo(settings, simulator), served)
  // Before the relays: a refused process must not claim a cursor from the running one.
  const lease = yield* Effect.provideContext(takeLease(settings, version), ground).pipe(
    Scope.provide(stages.foundation)
  )
  const deliveries = listDeliveries(settings, broker, late)
  const chores = listChores(settings)
  const { cluster, roles } = settings
  const isNode = cluster !== null && roles.has("devices")
  const parts = Context.merge(ground, media)
  if (!isNode) {
    for (const { run } of deliveries) {
      yield* run.pipe(Scope.provide(stages.relays), Effect.provideContext(parts))
    }
  }
  yield* consume(settings, handlers, broker).pipe(Scope.provide(stages.relays), Effect.provideContext(ground))
  yield* startFleet(settings, lease, leased, [...deliveries, ...chores]).pipe(
    Scope.provide(stages.fleet),
    Effect.provideService(FleetSettings, { ...(yield* FleetSettings), historyAgeMax: settings.retention }),
    Effect.provideContext(parts)
  )
  if (!isNode) {
    for (const { run } of chores) yield* run.pipe(Scope.provide(stages.foundation), Effect.provideContext(parts))
  }
  yield* Scope.provide(HeapReturn.make, stages.foundation)
  yield* readiness.contribute("process", Effect.succeed("running"))
  const status = broker?.guarded === null || broker === null ? null : Context.get(broker.guarded, BrokerStatus)
  return {
    url,
    log: Context.get(ground, EventLog),
    settings,
    simulatorUrl: simulator?.url ?? null,
    gateways: (yield* Context.get(gateways, GatewayDirectory).list).map(({ gateway }) => gateway),
    demoDevices: demo.added,
    retiredDevices: demo.retired,
    handlers: handlers.map(({ name }) => name),
    stats: readStats(served, status),
    stop: stopInOrder(stages, served, isNode ? nodeStopMax : fleetStopMax)
  }
})

/** Released with the scope, and so not before the fleet has stopped. Null: this process needs none. */
const takeLease = Effect.fnUntraced(function*(settings: Settings, version: string) {
  const { cluster, roles } = settings
  const { acquire } = yield* FleetLease
  if (cluster === null) return roles.has("devices") ? yield* acquire("alone") : null
  return yield* acquire({ node: roles.has("devices") ? nodeName(settings) : null, version })
}, (taken, { cluster }) =>
  Effect.mapError(
    taken,
    (error) => startFailed(error, error._tag !== "LeaseTaken" ? null : cluster === null ? leaseHint : nodeHint)
  ))

/** In a cluster this also starts the parts, each on one node at a time. */
const startFleet = <R, E>(
  settings: Settings,
  lease: Lease | null,
  leased: LeasedFleet.LeasedFleet,
  parts: ReadonlyArray<Part<R, E>>
) => {
  const { cluster, roles } = settings
  const failed = Effect.mapError((error: StartFailed | StorageUnavailable) => startFailed(error, null))
  if (lease === null) return Effect.void
  if (roles.has("devices")) {
    return failed(leased.start(lease, cluster === null ? LocalFleet.layer : clusterFleet(settings, cluster, parts)))
  }
  return cluster === null ? Effect.void : failed(leased.ask(clusterClient(settings, cluster)))
}

const nodeHint =
  "give each node its own COLUMBA_NODE_HOST and COLUMBA_NODE_PORT, all processes of the database COLUMBA_CLUSTER=on, and " +
  "versions of the program that are next to each other"

const leaseHint =
  "stop the other process, or run this one without the role 'devices' (COLUMBA_ROLES); several processes share the devices " +
  "where all of them have COLUMBA_CLUSTER=on"

const listenFailed = (settings: Settings, cause: unknown): StartFailed => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return code === "EADDRINUSE"
    ? StartFailed.of(`port ${settings.port} is taken`, "stop what listens there, or choose another with PORT or --port")
    : StartFailed.of(`could not listen on ${settings.host}:${settings.port} (${String(code ?? cause)})`, null)
}

// While it runs

type Running = EventLog | DeviceRepository | DeviceFleet | SinkRelays | Readiness

const readStats = (
  context: Context.Context<Running>,
  broker: BrokerStatus["Service"] | null
): Effect.Effect<Stats> => {
  const devices = Context.get(context, DeviceRepository)
  const log = Context.get(context, EventLog)
  const fleet = Context.get(context, DeviceFleet)
  const relayed = Context.get(context, SinkRelays)
  return Effect.all({
    states: devices.countByState.pipe(Effect.catch(() => fleet.counts)),
    committed: log.bounds.pipe(Effect.map(({ head }) => head), Effect.orElseSucceed(() => null)),
    sinks: relayed.views,
    incidents: fleet.incidents,
    broker: broker === null ? Effect.succeed(null) : broker.current
  }).pipe(
    Effect.map(({ broker, committed, incidents, sinks, states }) => {
      const counts: Readonly<Partial<Record<DeviceStateTag, number>>> = states
      const active = Object.entries(counts).filter(([state]) => state !== "Inactive")
      const devices = active.reduce((sum, [, count]) => sum + (count ?? 0), 0)
      return { online: counts.Online ?? 0, devices, committed, sinks, incidents, broker }
    })
  )
}
