/** `columba doctor`: checks everything that Columba needs, and reports how to fix each fault. */
import { Clock, Duration, Effect, FileSystem, Logger, Redacted } from "effect"
import type { Scope } from "effect"
import { Command, Flag } from "effect/cli"
import { SqlClient } from "effect/sql"
import { Socket } from "node:net"
import { DialectUnsupported } from "../domain/GatewayErrors.ts"
import { DeviceId, UpstreamId } from "../domain/Ids.ts"
import { GatewayAdapters } from "../services/GatewayAdapters.ts"
import type { SessionTarget } from "../services/GatewayParts.ts"
import * as Settings from "../layers/Settings.ts"
import { failed, ok, warning } from "./finding.ts"
import type { Finding } from "./finding.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { print, printJson } from "./printer.ts"
import { givenFlags, settingsFlags } from "./settingsFlags.ts"
import { checkNodes, clusterFinding } from "./nodeChecks.ts"
import { checkWebhooks } from "./webhookCheck.ts"
import { bold, cyan, green, padEnd, red, styled, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"
import { redactedAddress } from "../layers/app/addresses.ts"

/** Maximum time of each check of a remote part; a healthy answer takes milliseconds. */
const timeout = Duration.seconds(5)

/** Beyond this, times in the log, tokens and certificates begin to disagree. */
const clockSkewMaxMillis = 2000

/** A thousand devices and what the process itself needs; ten thousand need eleven times that. */
const fileLimitMin = 2048

type Check = Effect.Effect<Finding, never, FileSystem.FileSystem>

const bounded = (
  name: string,
  check: Effect.Effect<Finding, { readonly message: string }, Scope.Scope>,
  fix: string
): Check =>
  check.pipe(
    Effect.scoped,
    Effect.timeoutOrElse({
      duration: timeout,
      orElse: () => Effect.succeed(failed(name, `no answer within ${Duration.format(timeout)}`, fix))
    }),
    Effect.catch((error) => Effect.succeed(failed(name, error.message, fix))),
    Effect.catchDefect((defect) => Effect.succeed(failed(name, String(defect), fix)))
  )

const runtime: Check = Effect.sync(() =>
  ok("runtime", `Node ${process.versions.node} on ${process.platform} ${process.arch}`)
)

const embeddedDatabase = (dataDir: string): Check =>
  Effect.gen(function*() {
    const fs = yield* FileSystem.FileSystem
    const { acquireDirectoryLock } = yield* Effect.promise(() => import("../layers/postgres/directoryLock.ts"))
    yield* fs.makeDirectory(dataDir, { recursive: true }).pipe(Effect.ignore)
    const created = (yield* fs.exists(`${dataDir}/pgdata`)) ? "exists" : "created at the first start"
    return yield* acquireDirectoryLock(dataDir).pipe(
      Effect.as(ok("database", `embedded in ${dataDir}, ${created}`)),
      Effect.catchTag("DirectoryInUse", ({ processId }) =>
        Effect.succeed(ok("database", `embedded in ${dataDir}, in use by process ${processId}`)))
    )
  }).pipe(
    Effect.scoped,
    Effect.catch((error) =>
      Effect.succeed(
        failed("database", error.message, "make the directory writable, or set another COLUMBA_DATA_DIR")
      )
    )
  )

const postgresDatabase = (url: Redacted.Redacted<string>): Check =>
  bounded(
    "database",
    Effect.gen(function*() {
      const Database = yield* Effect.promise(() => import("../layers/app/database.ts"))
      const database = { _tag: "Postgres", url } as const
      const context = yield* Database.openDatabase(database)
      const sql = yield* Effect.provideContext(SqlClient.SqlClient, context)
      const before = yield* Clock.currentTimeMillis
      const [row] = yield* sql<{ version: string; now: number; migrated: boolean }>`
        select current_setting('server_version') as version, extract(epoch from clock_timestamp()) * 1000 as now,
          to_regclass('columba_migrations') is not null as migrated`.pipe(
        Effect.mapError((error) => Database.databaseFailed(database, error))
      )
      const took = (yield* Clock.currentTimeMillis) - before
      const skew = Math.round(Math.abs(Number(row?.now ?? before) - before - took / 2))
      const where = `Postgres ${row?.version} at ${redactedAddress(url)}, answers in ${took} ms`
      if (skew > clockSkewMaxMillis) {
        return warning(
          "database",
          `${where}, but its clock is ${skew} ms off the clock of this machine`,
          "synchronize both clocks with NTP"
        )
      }
      return row?.migrated === true
        ? ok("database", where)
        : warning(
          "database",
          `${where}, without Columba's tables yet`,
          "the first start creates them, or run: columba migrate"
        )
    }),
    "check DATABASE_URL: host, port, user, password and database name"
  )

const broker = (url: Redacted.Redacted<string> | null): Check =>
  url === null
    ? Effect.succeed(warning("broker", "none; events are read from the API", "set RABBITMQ_URL to deliver to RabbitMQ"))
    : bounded(
      "broker",
      Effect.gen(function*() {
        const { RabbitMq, layer } = yield* Effect.promise(() => import("../layers/rabbitmq/RabbitMq.ts"))
        yield* RabbitMq.pipe(
          Effect.flatMap((rabbit) => rabbit.usable("4 seconds")),
          Effect.provide(layer({ url, connectionName: "columba doctor" }))
        )
        return ok("broker", `RabbitMQ at ${redactedAddress(url)} accepts events`)
      }),
      "check RABBITMQ_URL: host, port, user, password and vhost; events wait in the log meanwhile"
    )

const redis = (url: Redacted.Redacted<string>): Check =>
  bounded(
    "redis",
    Effect.gen(function*() {
      const { check } = yield* Effect.promise(() => import("../layers/redis/RedisPacing.ts"))
      yield* Effect.mapError(check(url), (message) => ({ message }))
      return ok("redis", `Redis at ${redactedAddress(url)} answers`)
    }),
    "check REDIS_URL: host, port, user and password, and that the user may run EVAL, GET, SET, DEL and TIME on " +
      "columba:pacing:*; meanwhile each installation applies only its own pacing"
  )

const gateway = (settings: Settings.Settings): ReadonlyArray<Check> => {
  switch (settings.gateway._tag) {
    case "Simulator":
      return [Effect.succeed(
        warning("gateway", "none; the built-in simulator is used", "set WHATSAPP_API_URL to use a real one")
      )]
    case "None":
      return [Effect.succeed(
        warning(
          "gateway",
          "none in the settings; the database may have gateways",
          "set WHATSAPP_API_URL, or add one: columba gateways add --help"
        )
      )]
    case "Configured":
      return [configuredGateway(settings.gateway), webhooks(settings, settings.gateway)]
  }
}

type Configured = Extract<Settings.Settings["gateway"], { readonly _tag: "Configured" }>

const openGateway = Effect.fnUntraced(function*(settings: Configured) {
  const [{ layer }, { listOwnGateways }] = yield* Effect.promise(() =>
    Promise.all([import("../layers/gateways/adapters.ts"), import("../layers/app/gateways.ts")])
  )
  const { byDialect } = yield* Effect.provide(GatewayAdapters, layer)
  const open = byDialect.get(settings.dialect)
  return open === undefined
    ? yield* DialectUnsupported.of(settings.dialect, [...byDialect.keys()])
    : yield* open(listOwnGateways(settings, null)[0]!)
})

/** A slot that no gateway has. */
const nobody: SessionTarget = {
  deviceId: DeviceId.make(`dev_${"0".repeat(26)}`),
  upstreamId: UpstreamId.make("columba-doctor-asks"),
  jid: null
}

const configuredGateway = (settings: Configured): Check =>
  bounded(
    "gateway",
    Effect.gen(function*() {
      const one = yield* openGateway(settings)
      yield* one.probe
      // A reachable gateway may still refuse the credentials, which only a status request for a slot shows.
      yield* one.status(nobody)
      return ok("gateway", `${one.description} answers`)
    }),
    "check WHATSAPP_API_URL, WHATSAPP_API_DIALECT and the gateway's credentials, and that the gateway runs"
  )

const webhooks = (settings: Settings.Settings, gateway: Configured): Check =>
  bounded(
    "webhooks",
    Effect.gen(function*() {
      const { webhookSecret } = gateway
      const found = yield* checkWebhooks(yield* openGateway(gateway), { settings, webhookSecret })
      return found ?? ok("webhooks", `the dialect ${gateway.dialect} sends none`)
    }),
    "check COLUMBA_PUBLIC_URL and WHATSAPP_API_DIALECT"
  )

/** One socket per device and some for the rest; the soft limit counts. */
const fileLimit: Check = Effect.gen(function*() {
  const fs = yield* FileSystem.FileSystem
  const limits = yield* fs.readFileString("/proc/self/limits").pipe(Effect.orElseSucceed(() => ""))
  const soft = /^Max open files\s+(\S+)/m.exec(limits)?.[1]
  if (soft === undefined) return ok("open files", "this system does not show its limit")
  const limit = soft === "unlimited" ? Number.POSITIVE_INFINITY : Number(soft)
  const detail = `${soft} allowed; each device needs one`
  return limit >= fileLimitMin ? ok("open files", detail) : warning("open files", detail, "raise it: ulimit -n 65536")
})

/** `variable` chooses another port; `free` describes it if nothing listens there. */
const port = (
  name: string,
  { host, wanted, variable, free }: {
    readonly host: string
    readonly wanted: number
    readonly variable: string
    readonly free: Finding
  }
): Check =>
  Effect.callback<Finding>((resume) => {
    const socket = new Socket()
    const done = (finding: Finding) => {
      socket.destroy()
      resume(Effect.succeed(finding))
    }
    socket.once("connect", () =>
      done(warning(name, `port ${wanted} is in use`, `if not by Columba, set another port with ${variable}`)))
    socket.once("error", () =>
      done(free))
    socket.connect(wanted, host === "0.0.0.0" || host === "::" ? "127.0.0.1" : host)
    return Effect.sync(() => socket.destroy())
  }).pipe(Effect.timeoutOrElse({ duration: timeout, orElse: () => Effect.succeed(free) }))

/** The cluster as its nodes have recorded it, as this process reads it. */
const clusterChecks = (
  settings: Settings.Settings,
  node: NonNullable<Settings.Settings["cluster"]>
): ReadonlyArray<Check> => {
  const { database } = settings
  return [
    port("cluster", { host: node.host, wanted: node.port, variable: "COLUMBA_NODE_PORT", free: clusterFinding(node) }),
    ...database._tag === "Embedded" ? [] : [bounded(
      "nodes",
      Effect.gen(function*() {
        const Database = yield* Effect.promise(() => import("../layers/app/database.ts"))
        const { layer } = yield* Effect.promise(() => import("../layers/postgres/SqlNodeRegistry.ts"))
        const context = yield* Database.openDatabase(database)
        const sql = yield* Effect.provideContext(SqlClient.SqlClient, context)
        const [row] = yield* sql<{ made: boolean }>`select to_regclass('cluster_nodes') is not null as made`
        if (row?.made !== true) return ok("nodes", "none has run yet")
        return yield* checkNodes(settings).pipe(Effect.provide(layer), Effect.provideContext(context))
      }),
      "the nodes are listed by: columba nodes"
    )]
  ]
}

export const doctor = Command.make(
  "doctor",
  {
    ...settingsFlags([
      "databaseUrl",
      "dataDir",
      "rabbitUrl",
      "redisUrl",
      "gatewayUrl",
      "gatewayUser",
      "gatewayPassword",
      "gatewayKey",
      "gatewayDialect",
      "webhookSecret",
      "publicUrl",
      "secretKeys",
      "host",
      "port",
      "apiKeys",
      "cluster",
      "nodeHost",
      "nodePort",
      "nodeWeight",
      "clusterLease",
      "roles",
      "retention",
      "pacing",
      "media"
    ]),
    json: Flag.Boolean("json").pipe(
      Flag.withDescription("print JSON, one check per line: name, state (ok, warning, failed), detail, fix"),
      Flag.withDefault(false)
    )
  },
  (flags) =>
    Effect.gen(function*() {
      const settings = yield* Settings.load(givenFlags(flags))
      const { database } = settings
      const findings = yield* Effect.all([
        runtime,
        database._tag === "Embedded" ? embeddedDatabase(database.dataDir) : postgresDatabase(database.url),
        broker(settings.rabbitUrl),
        ...(settings.redisUrl === null ? [] : [redis(settings.redisUrl)]),
        ...gateway(settings),
        fileLimit,
        port("port", {
          host: settings.host,
          wanted: settings.port,
          variable: "PORT",
          free: ok("port", `${settings.port} is free`)
        }),
        ...(settings.cluster === null ? [] : clusterChecks(settings, settings.cluster))
      ], { concurrency: "unbounded" }).pipe(
        // The findings already contain what a part would log; standard output belongs to the findings.
        Effect.provide(Logger.layer([]))
      )
      yield* (flags.json
        ? Effect.forEach(findings, printJson, { discard: true })
        : print(...findings.flatMap(renderFinding)))
      const broken = findings.filter(({ state }) => state === "failed").map(({ name }) => name)
      if (broken.length > 0) {
        return yield* CommandFailed.of(`failed: ${broken.join(", ")}`, null, exitCode.unavailable)
      }
    })
).pipe(
  Command.withDescription(
    "Checks database, broker, Redis, gateway, clock, limits and port, and says how to fix each problem. Changes nothing. " +
      "Exit code 3 when a check failed"
  ),
  Command.withShortDescription("Checks what Columba needs, and says how to fix it"),
  Command.withExamples([
    { command: "columba doctor", description: "With the settings that 'columba serve' would use" },
    { command: "columba doctor --database-url postgres://columba@db/columba", description: "Before switching to it" },
    { command: "columba doctor --json | jq 'select(.state != \"ok\")'", description: "For scripts" }
  ])
)

const nameWidth = 10

const renderFinding = ({ detail, fix, name, state }: Finding): ReadonlyArray<Part> => {
  const mark = { ok: green("ok  "), warning: yellow("warn"), failed: red("fail") }[state]
  return [
    styled`${mark} ${padEnd(bold(name), nameWidth)} ${detail}`,
    ...(fix === null ? [] : [styled`${" ".repeat(nameWidth + 6)}${cyan(fix)}`])
  ]
}
