/**
 * The composition root: which parts run in this process, and in which order they start and stop.
 *
 * They start as foundation (database, log, repositories, gateways), HTTP, relays to sinks, fleet, and stop in the
 * reverse order, so that what is on its way still arrives: readiness says that the process stops, the fleet closes its
 * sockets (no new frames), the log is flushed, the relays wait for their confirms, HTTP ends its streams, and the
 * database goes last. HTTP is there before the fleet: a port that is taken costs no device its connection, and readiness
 * tells what is still starting.
 */
import {
  Context,
  DateTime,
  Duration,
  Effect,
  Exit,
  Fiber,
  Layer,
  Option,
  Redacted,
  Schedule,
  Schema,
  Scope
} from "effect"
import { HttpServer } from "effect/http"
import { SqlError } from "effect/sql"
import type { SqlClient } from "effect/sql"
import { hostname } from "node:os"
import * as LeasedFleet from "../actors/fleet/LeasedFleet.ts"
import * as Retention from "../actors/delivery/Retention.ts"
import * as SinkRelay from "../actors/delivery/SinkRelay.ts"
import { HealthServerLayer, HttpServerLayer } from "../http/Routes.ts"
import type { DeviceStateTag } from "../domain/DeviceState.ts"
import { parseGatewayUrl } from "../domain/Gateway.ts"
import type { Gateway } from "../domain/Gateway.ts"
import { GatewayName } from "../domain/Ids.ts"
import { ApiKeys } from "../services/ApiKeys.ts"
import { BrokerStatus } from "../services/BrokerStatus.ts"
import type { BrokerState } from "../services/BrokerStatus.ts"
import { DeviceFleet } from "../services/DeviceFleet.ts"
import type { IncidentView } from "../services/DeviceFleet.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import { EventLog } from "../services/EventLog.ts"
import type { FleetLease } from "../services/FleetLease.ts"
import type { EventSink } from "../services/EventSink.ts"
import type { GatewayAdapters } from "../services/GatewayAdapters.ts"
import { GatewayDirectory } from "../services/GatewayDirectory.ts"
import type { OwnGateway } from "../services/GatewayDirectory.ts"
import { GatewayManager } from "../services/GatewayManager.ts"
import type { GatewayRepository } from "../services/GatewayRepository.ts"
import { LogStatus } from "../services/LogStatus.ts"
import type { MessageRepository } from "../services/MessageRepository.ts"
import { Readiness } from "../services/Readiness.ts"
import type { SecretSeal } from "../services/SecretSeal.ts"
import { ServerIdentity } from "../services/ServerIdentity.ts"
import { shutdownBudget } from "../services/shutdownBudget.ts"
import { SinkRelays } from "../services/SinkRelays.ts"
import type { SinkView } from "../services/SinkRelays.ts"
import * as Demo from "../simulator/Demo.ts"
import type { SimulatorHandle } from "../simulator/SimulatedGateway.ts"
import * as adapters from "./gateways/adapters.ts"
import type { DatabaseSignals } from "./postgres/DatabaseSignals.ts"
import type { DirectoryInUse, EmbeddedDatabaseUnusable } from "./postgres/directoryLock.ts"
import { isServerBusy } from "./postgres/sqlErrors.ts"
import * as AesSecretSeal from "./secrets/AesSecretSeal.ts"
import { readOrMakeKeys } from "./secrets/keyFile.ts"
import type { Settings } from "./Settings.ts"

/** What moves while it runs. */
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
  /** Where it listens. */
  readonly url: string
  /** The built-in simulator, where this process runs it. */
  readonly simulatorUrl: string | null
  /** The gateways in the database at the start. */
  readonly gateways: ReadonlyArray<Pick<Gateway, "name" | "dialect" | "url" | "active" | "source">>
  /** How many demo devices this start added. */
  readonly demoDevices: number
  /** How many simulated devices the database holds that do not run, because this process runs no simulator. */
  readonly retiredDevices: number
  readonly log: EventLog["Service"]
  readonly stats: Effect.Effect<Stats>
  /** Stops everything in order. Logs each step; bounded by the bounds of the parts. */
  readonly stop: Effect.Effect<void>
}

/** The process could not come up. `hint` says what to do. */
export class StartFailed extends Schema.TaggedError<StartFailed>()("StartFailed", {
  message: Schema.String,
  hint: Schema.NullOr(Schema.String)
}) {
  static of(message: string, hint: string | null): StartFailed {
    return new StartFailed({ message, hint })
  }
}

// The database

/** A server that is starting, or restarting beside us, is back within this time; longer is for an operator to know. */
const databaseStartTimeout = Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(30)])

type Storage =
  | EventLog
  | LogStatus
  | DeviceRepository
  | GatewayRepository
  | MessageRepository
  | SqlClient.SqlClient
  | FleetLease

/** The engine behind the embedded database takes a while to load: only who needs it pays. */
const embedded = (dataDir: string) =>
  Layer.unwrap(
    Effect.promise(() => import("./postgres/Embedded.ts")).pipe(
      Effect.map((Embedded) => Embedded.layer({ dataDir }))
    )
  )

const postgres = (url: Redacted.Redacted<string>) =>
  Layer.unwrap(
    Effect.promise(() => import("./postgres/Postgres.ts")).pipe(
      Effect.map((Postgres) => Postgres.layer(url))
    )
  )

const sqlStorage = Layer.unwrap(
  Effect.map(Effect.promise(() => import("./postgres/SqlStorage.ts")), (SqlStorage) => SqlStorage.layer)
)

const databaseReadiness = Readiness.check(
  "database",
  Effect.gen(function*() {
    const log = yield* EventLog
    const { head } = yield* log.bounds.pipe(Effect.mapError((error) => error.message))
    return `the log stands at ${head}`
  })
)

const databaseLayer = (
  database: Settings["database"]
): Layer.Layer<
  SqlClient.SqlClient | DatabaseSignals | FleetLease,
  DirectoryInUse | EmbeddedDatabaseUnusable | SqlError.SqlError
> => database._tag === "Embedded" ? embedded(database.dataDir) : postgres(database.url)

/** The database as it is, for as long as the scope. Fails at once where it is not usable. */
export const openDatabase = Effect.fn("App.openDatabase")(function*(database: Settings["database"]) {
  return yield* Layer.build(databaseLayer(database)).pipe(Effect.mapError((error) => databaseFailed(database, error)))
})

/** Opens the database, waits for a server that is not there yet, and brings the schema up to date. */
export const openStorage = Effect.fn("App.openStorage")(function*(
  database: Settings["database"]
): Effect.fn.Return<Context.Context<Storage>, StartFailed, Scope.Scope> {
  const scope = yield* Effect.scope
  return yield* Scope.fork(scope).pipe(
    Effect.flatMap((attempt) =>
      Layer.buildWithScope(Layer.provideMerge(sqlStorage, databaseLayer(database)), attempt).pipe(
        Effect.onError((cause) => Scope.close(attempt, Exit.failCause(cause)))
      )
    ),
    Effect.tapError((error) =>
      isAway(error) ? Effect.logWarning("The database does not answer yet", { reason: readReason(error) }) : Effect.void
    ),
    Effect.retry({ schedule: databaseStartTimeout, while: isAway }),
    Effect.mapError((error) => databaseFailed(database, error))
  )
})

/** The failure of the database with its own reason, and where the database is. */
export const databaseFailed = (database: Settings["database"], error: { readonly message: string }): StartFailed =>
  database._tag === "Embedded"
    ? startFailed(error, null)
    : StartFailed.of(
      `the database at ${redactedAddress(database.url)} is not usable: ${readReason(error)}`,
      "look at DATABASE_URL, then run: columba doctor"
    )

/** Worth waiting for: a server that is starting, or has too many clients for the moment. A refused password is not. */
const isAway = (error: unknown): boolean =>
  SqlError.isSqlError(error) && (error.reason._tag === "ConnectionError" || isServerBusy(error))

/** The innermost reason: what the server or the network said, not that a query failed. */
const readReason = (error: { readonly message: string }): string => {
  let reason = error.message
  let inner: unknown = error
  // Wrappers are three deep at most; the bound is for a cause that leads back to itself.
  for (let depth = 0; depth < 8 && inner instanceof Error; depth++) {
    if (inner.message !== "") reason = inner.message
    // A host name with several addresses fails with one error for each.
    inner = SqlError.isSqlError(inner)
      ? inner.reason.cause
      : inner instanceof AggregateError
      ? inner.errors[0]
      : inner.cause
  }
  return reason
}

const startFailed = (error: { readonly message: string }, hint: string | null): StartFailed =>
  StartFailed.of(error.message, hint)

/** Where a database or broker is, without the secrets of its URL. */
export const redactedAddress = (url: Redacted.Redacted<string>): string => {
  const { host, pathname } = new URL(Redacted.value(url))
  return `${host}${pathname === "/" ? "" : pathname}`
}

// The gateway

const defaultGateway = GatewayName.make("default")

const simulated = Effect.fnUntraced(function*() {
  const { start } = yield* Effect.promise(() => import("../simulator/SimulatedGateway.ts"))
  // Accounts stay over restarts, as the database remembers them; what they hear is new in each run.
  const conversation = DateTime.formatIso(yield* DateTime.now)
  return yield* start({ seed: "demo", conversation })
}, Effect.mapError((error) => startFailed(error, null)))

/** The gateways that this process brings itself. All others are rows that people added. */
const listOwnGateways = (
  gateway: Settings["gateway"],
  simulator: SimulatorHandle | null
): ReadonlyArray<OwnGateway> => {
  if (gateway._tag === "Bridge") {
    const { password, url, user } = parseGatewayUrl(gateway.url.href) ??
      { url: gateway.url.origin, user: null, password: null }
    return [{
      name: defaultGateway,
      dialect: "bridge",
      url,
      user: gateway.user || user,
      secrets: { password: Redacted.value(gateway.password) === "" ? Redacted.make(password ?? "") : gateway.password },
      source: "environment"
    }]
  }
  if (simulator === null) return []
  const { simulatorGateway: name } = Demo
  return [{ name, dialect: "bridge", url: simulator.url, user: null, secrets: {}, source: "simulator" }]
}

/** On a server every process needs the same keys, so they come from the environment; a directory keeps its own. */
const secretSeal = (settings: Settings): Layer.Layer<SecretSeal, StartFailed> =>
  settings.database._tag === "Postgres"
    ? AesSecretSeal.layer(settings.secretKeys)
    : Layer.unwrap(
      readOrMakeKeys(settings.database.dataDir).pipe(
        Effect.map((keys) => AesSecretSeal.layer([...settings.secretKeys, ...keys])),
        Effect.mapError((error) => startFailed(error, null))
      )
    )

const makeGateways = (
  settings: Settings,
  simulator: SimulatorHandle | null
): Layer.Layer<GatewayDirectory | GatewayManager | GatewayAdapters | SecretSeal, StartFailed, GatewayRepository> =>
  GatewayManager.layer.pipe(
    Layer.provideMerge(GatewayDirectory.layer(listOwnGateways(settings.gateway, simulator))),
    Layer.provideMerge(adapters.layer),
    Layer.provideMerge(secretSeal(settings)),
    Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, null))))
  )

// Sinks

/** How far every sink is; a process that relays nothing has none. */
const relays = (settings: Settings): Layer.Layer<SinkRelays, StartFailed, DeviceRepository | EventLog | Readiness> => {
  const { rabbitUrl } = settings
  if (!settings.roles.has("devices") || rabbitUrl === null) {
    return Layer.succeed(SinkRelays, SinkRelays.of({ views: Effect.succeed([]) }))
  }
  return Layer.unwrap(Effect.gen(function*() {
    const [RabbitMq, RabbitSink, TopologyGuard] = yield* Effect.promise(() =>
      Promise.all([
        import("./rabbitmq/RabbitMq.ts"),
        import("./rabbitmq/RabbitSink.ts"),
        import("./rabbitmq/TopologyGuard.ts")
      ])
    )
    const broker = TopologyGuard.layer.pipe(
      Layer.provideMerge(RabbitMq.layer({ url: rabbitUrl, connectionName: `columba ${hostname()}` }))
    )
    const sinks = Effect.flatMap(RabbitSink.make, (sink) => Effect.map(keepDemoOut(settings, sink), (kept) => [kept]))
    return SinkRelay.readiness.pipe(
      Layer.provideMerge(SinkRelay.layer(sinks)),
      Layer.merge(BrokerStatus.readiness),
      Layer.provideMerge(broker),
      Layer.catch((error) => Layer.effectContext(Effect.fail(startFailed(error, null))))
    )
  }))
}

/** What a demo has left in an embedded database is not for the broker of a real gateway. */
const keepDemoOut = (settings: Settings, sink: EventSink) =>
  settings.database._tag === "Embedded" && settings.gateway._tag !== "Simulator"
    ? Effect.map(Demo.listSimulatedIds, (devices) => devices.size === 0 ? sink : Demo.withoutDevices(sink, devices))
    : Effect.succeed(sink)

// Parts

const identity = (settings: Settings, version: string): Layer.Layer<ServerIdentity> =>
  Layer.effect(
    ServerIdentity,
    Effect.map(DateTime.now, (now) =>
      ServerIdentity.of({
        version,
        node: hostname(),
        startedAt: DateTime.formatIso(now),
        roles: [...settings.roles],
        database: describeDatabase(settings.database),
        broker: settings.rabbitUrl === null ? null : `RabbitMQ at ${redactedAddress(settings.rabbitUrl)}`
      }))
  )

export const describeDatabase = (database: Settings["database"]): string =>
  database._tag === "Embedded" ? `embedded in ${database.dataDir}` : `Postgres at ${redactedAddress(database.url)}`

/** What the roles need of the simulator, if it is what we talk to. */
const startSimulator = (settings: Settings) =>
  settings.gateway._tag === "Simulator" && settings.roles.has("devices")
    ? simulated()
    : Effect.succeed(null)

/** Adds the demo devices where the simulator runs; elsewhere counts those that do not run for lack of it. */
const prepareDemo = Effect.fnUntraced(function*(settings: Settings, simulator: SimulatorHandle | null) {
  if (settings.gateway._tag === "Simulator" && simulator !== null) {
    return { added: yield* Demo.seed(simulator, settings.gateway.demoDevices), retired: 0 }
  }
  const hosts = settings.roles.has("devices") && settings.gateway._tag !== "Simulator"
  return { added: 0, retired: hosts ? yield* Demo.countSimulated : 0 }
}, Effect.mapError((error) => startFailed(error, null)))

const apiKeys = ({ apiKeys: keys }: Settings) => Layer.succeed(ApiKeys, ApiKeys.of({ keys }))

/**
 * Starts the parts that the roles ask for. Should the scope close without `stop`, the parts end in the same order, each
 * within its own bounds.
 */
export const start = Effect.fn("App.start")(function*(
  settings: Settings,
  version: string
): Effect.fn.Return<App, StartFailed, Scope.Scope> {
  const stages = yield* makeStages
  const on = <A, E, R>(stage: Scope.Scope, layer: Layer.Layer<A, E, R>) => Layer.buildWithScope(layer, stage)

  const database = yield* Scope.provide(openStorage(settings.database), stages.foundation)
  const words = yield* on(
    stages.foundation,
    Layer.mergeAll(identity(settings, version), Readiness.layer, apiKeys(settings))
  )
  const simulator = yield* Scope.provide(startSimulator(settings), stages.foundation)
  const gateways = yield* Effect.provideContext(on(stages.foundation, makeGateways(settings, simulator)), database)
  const ground = Context.mergeAll(database, words, gateways)
  const readiness = Context.get(ground, Readiness)
  const leased = LeasedFleet.make()
  const fleet = Context.make(DeviceFleet, leased.fleet)
  const manager = yield* Effect.provideContext(on(stages.foundation, DeviceManager.layer), Context.merge(ground, fleet))
  const served = Context.mergeAll(ground, fleet, manager)
  yield* Effect.provideContext(on(stages.foundation, Layer.merge(databaseReadiness, LogStatus.readiness)), ground)
  yield* readiness.contribute("process", Effect.fail("starting"))

  const server = settings.roles.has("api") ? HttpServerLayer(settings) : HealthServerLayer(settings)
  const url = yield* on(stages.http, server).pipe(
    Effect.map((context) => HttpServer.formatAddress(Context.get(context, HttpServer.HttpServer).address)),
    Effect.provideContext(served),
    Effect.mapError(({ cause }) => listenFailed(settings, cause))
  )

  // Before the fleet first looks, so that it starts them all in its first comparison.
  const demo = yield* Effect.provideContext(prepareDemo(settings, simulator), served)
  const sinks = yield* Effect.provideContext(on(stages.relays, relays(settings)), ground)
  if (settings.roles.has("devices")) {
    yield* leased.start(stages.foundation).pipe(
      Scope.provide(stages.fleet),
      Effect.provideContext(ground),
      Effect.mapError((error) => error._tag === "LeaseTaken" ? startFailed(error, leaseHint) : startFailed(error, null))
    )
  }
  if (settings.roles.has("scheduler") && settings.retention !== null) {
    yield* Retention.make(settings.retention).pipe(Scope.provide(stages.foundation), Effect.provideContext(ground))
  }
  yield* readiness.contribute("process", Effect.succeed("running"))
  const everything = Context.mergeAll(served, sinks)
  return {
    url,
    log: Context.get(everything, EventLog),
    settings,
    simulatorUrl: simulator?.url ?? null,
    gateways: (yield* Context.get(gateways, GatewayDirectory).list).map(({ gateway }) => gateway),
    demoDevices: demo.added,
    retiredDevices: demo.retired,
    stats: readStats(everything),
    stop: stopInOrder(stages, everything)
  }
})

const leaseHint = "stop the other process, or run this one without the role 'devices' (COLUMBA_ROLES)"

const listenFailed = (settings: Settings, cause: unknown): StartFailed => {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined
  return code === "EADDRINUSE"
    ? StartFailed.of(`port ${settings.port} is taken`, "stop what listens there, or choose another with PORT or --port")
    : StartFailed.of(`could not listen on ${settings.host}:${settings.port} (${String(code ?? cause)})`, null)
}

// While it runs

type Running = EventLog | DeviceRepository | DeviceFleet | SinkRelays | Readiness

const readStats = (context: Context.Context<Running>): Effect.Effect<Stats> => {
  const devices = Context.get(context, DeviceRepository)
  const log = Context.get(context, EventLog)
  const fleet = Context.get(context, DeviceFleet)
  const relayed = Context.get(context, SinkRelays)
  const broker = Context.getOption(context, BrokerStatus)
  return Effect.all({
    states: devices.countByState.pipe(Effect.catch(() => fleet.counts)),
    committed: log.bounds.pipe(Effect.map(({ head }) => head), Effect.orElseSucceed(() => null)),
    sinks: relayed.views,
    incidents: fleet.incidents,
    broker: Option.isSome(broker) ? broker.value.current : Effect.succeed(null)
  }).pipe(
    Effect.map(({ broker, committed, incidents, sinks, states }) => {
      const counts: Readonly<Partial<Record<DeviceStateTag, number>>> = states
      const active = Object.entries(counts).filter(([state]) => state !== "Inactive")
      const devices = active.reduce((sum, [, count]) => sum + (count ?? 0), 0)
      return { online: counts.Online ?? 0, devices, committed, sinks, incidents, broker }
    })
  )
}

// Stopping

interface Stages {
  readonly foundation: Scope.Closeable
  readonly http: Scope.Closeable
  readonly relays: Scope.Closeable
  readonly fleet: Scope.Closeable
}

/** In the order of starting. A scope closes first what was added last: stopping is the reverse. */
const makeStages: Effect.Effect<Stages, never, Scope.Scope> = Effect.gen(function*() {
  const outer = yield* Effect.scope
  return {
    foundation: yield* Scope.fork(outer, "sequential"),
    http: yield* Scope.fork(outer, "sequential"),
    relays: yield* Scope.fork(outer, "sequential"),
    fleet: yield* Scope.fork(outer, "sequential")
  }
})

const stopInOrder = (stages: Stages, context: Context.Context<Running>): Effect.Effect<void> => {
  const log = Context.get(context, EventLog)
  const { views } = Context.get(context, SinkRelays)
  const budget = shutdownBudget
  // Against the head as it is now: a view's `lag` is some seconds old, and the last events are of this very moment.
  const caughtUp = Effect.flatMap(log.bounds, ({ head }) =>
    Effect.repeat(views, {
      until: (views) => views.every(({ confirmed, state }) => state !== "running" || confirmed >= head),
      schedule: Schedule.spaced("50 millis")
    })).pipe(Effect.ignore)
  const close = (stage: Scope.Closeable, what: string, ...parts: ReadonlyArray<Duration.Duration>) =>
    within(parts.reduce(Duration.sum), what, Scope.close(stage, Exit.void))
  return Effect.gen(function*() {
    yield* Context.get(context, Readiness).contribute("process", Effect.fail("stopping"))
    yield* Effect.logInfo("Stopping: no new frames")
    yield* close(stages.fleet, "the fleet", budget.fleet)
    const flushed = yield* Effect.timeoutOption(log.flush, budget.flush)
    if (Option.isNone(flushed)) yield* Effect.logWarning("The log could not be flushed; the database does not answer")
    else yield* Effect.timeoutOption(caughtUp, budget.deliver)
    yield* close(stages.relays, "the relays", budget.relayDrain, budget.relayCursor, budget.broker)
    yield* close(stages.http, "HTTP", budget.http)
    yield* close(stages.foundation, "the foundation", budget.foundation)
    yield* Effect.logInfo("Stopped")
  })
}

/** What does not end in its time goes on by itself, and the next part stops meanwhile. */
const within = (time: Duration.Duration, what: string, stop: Effect.Effect<void>): Effect.Effect<void> =>
  Effect.forkDetach(stop).pipe(
    Effect.flatMap((fiber) => Effect.timeoutOption(Fiber.await(fiber), time)),
    Effect.flatMap((ended) =>
      Option.isSome(ended)
        ? Effect.void
        : Effect.logWarning(`Stopping ${what} takes longer than ${Duration.format(time)}; it is left behind`)
    )
  )
