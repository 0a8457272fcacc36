/** The database of the settings: opens it, waits while it starts, and migrates its schema. */
import { Effect, Exit, Layer, Schedule, Scope } from "effect"
import type { Context, Redacted } from "effect"
import { SqlError } from "effect/sql"
import type { SqlClient } from "effect/sql"
import type { ApiKeyRepository } from "../../services/ApiKeyRepository.ts"
import type { DeviceRepository } from "../../services/DeviceRepository.ts"
import { EventLog } from "../../services/EventLog.ts"
import type { FleetLease } from "../../services/FleetLease.ts"
import type { GapRepository } from "../../services/GapRepository.ts"
import type { ScheduleRepository } from "../../services/ScheduleRepository.ts"
import type { SendRepository } from "../../services/SendRepository.ts"
import type { GatewayRepository } from "../../services/GatewayRepository.ts"
import type { LogStatus } from "../../services/LogStatus.ts"
import type { AutoReplyRepository } from "../../services/AutoReplyRepository.ts"
import type { MessageInbox } from "../../services/MessageInbox.ts"
import type { MessageRepository } from "../../services/MessageRepository.ts"
import { Readiness } from "../../services/Readiness.ts"
import type { SubscriptionRepository } from "../../services/SubscriptionRepository.ts"
import type { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import type { DatabaseSignals } from "../postgres/DatabaseSignals.ts"
import type { DirectoryInUse, EmbeddedDatabaseUnusable } from "../postgres/directoryLock.ts"
import { isServerBusy, readConfigFault } from "../postgres/sqlErrors.ts"
import type { Settings } from "../Settings.ts"
import { redactedAddress } from "./addresses.ts"
import { StartFailed, startFailed } from "./StartFailed.ts"

/** A server that starts or restarts at the same time is up within this time; a longer outage is left to the operator. */
const databaseStartTimeout = Schedule.max([Schedule.spaced("1 second"), Schedule.recurs(30)])

type Storage =
  | EventLog
  | LogStatus
  | DeviceRepository
  | GapRepository
  | ScheduleRepository
  | SendRepository
  | GatewayRepository
  | ApiKeyRepository
  | AutoReplyRepository
  | MessageInbox
  | MessageRepository
  | SubscriptionRepository
  | WebhookRefusals
  | SqlClient.SqlClient
  | FleetLease

/** The engine of the embedded database takes a while to load, so it is imported only where it is used. */
const embedded = (dataDir: string) =>
  Layer.unwrap(
    Effect.promise(() => import("../postgres/Embedded.ts")).pipe(
      Effect.map((Embedded) => Embedded.layer({ dataDir }))
    )
  )

const postgres = (url: Redacted.Redacted<string>) =>
  Layer.unwrap(
    Effect.promise(() => import("../postgres/Postgres.ts")).pipe(
      Effect.map((Postgres) => Postgres.layer(url))
    )
  )

const sqlStorage = Layer.unwrap(
  Effect.map(Effect.promise(() => import("../postgres/SqlStorage.ts")), (SqlStorage) => SqlStorage.layer)
)

export const databaseReadiness = Readiness.check(
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

/** The database without waiting or migration, for as long as the scope. Fails at once where it is not usable. */
export const openDatabase = Effect.fn("App.openDatabase")(function*(database: Settings["database"]) {
  return yield* Layer.build(databaseLayer(database)).pipe(Effect.mapError((error) => databaseFailed(database, error)))
})

/** Opens the database, waits for a server that is not up yet, and migrates the schema. */
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

/** The failure of the database with its own reason, and the database's address. */
export const databaseFailed = (database: Settings["database"], error: { readonly message: string }): StartFailed =>
  database._tag === "Embedded"
    ? startFailed(error, null)
    : isUserMissing(error)
    ? StartFailed.of("DATABASE_URL names no user", "write it as postgres://user:password@host:5432/database")
    : StartFailed.of(
      `the database at ${redactedAddress(database.url)} is not usable: ${readReason(error)}`,
      "look at DATABASE_URL, then run: columba doctor"
    )

/** Without a user in the URL, the client uses the process's user, which a container often lacks. */
const isUserMissing = (error: unknown): boolean =>
  SqlError.isSqlError(error) && readConfigFault(error)?.startsWith("No username") === true

/**
 * Whether waiting may help: a server that is starting, or has too many clients at the moment. It does not help with a refused
 * password or a URL that the client cannot use.
 */
const isAway = (error: unknown): boolean =>
  SqlError.isSqlError(error) &&
  ((error.reason._tag === "ConnectionError" && readConfigFault(error) === null) || isServerBusy(error))

/** The innermost reason: the server's or network's error, not that a query failed. */
const readReason = (error: { readonly message: string }): string => {
  let reason = error.message
  let inner: unknown = error
  // Wrappers are at most three deep; the bound is for a cause that refers to itself.
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
