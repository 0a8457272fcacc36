/**
 * Migrates the database to the schema this build needs. Runs at every start and changes nothing when the schema is up to
 * date. Concurrent starts are safe: the migrator locks its table, and a process that loses the race to create that
 * table finds it there. Runs again when the log turns out to be another copy (`renew`), and when a statement finds tables or columns
 * missing, because the database was created anew or a copy from before an upgrade was restored.
 */
import { Effect, Layer, Semaphore } from "effect"
import { Migrator, SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import { isSchemaMissing, unavailable } from "./sqlErrors.ts"
import log from "./migrations/0001_log.ts"
import gateways from "./migrations/0002_gateways.ts"
import gaps from "./migrations/0003_gaps.ts"
import subscriptions from "./migrations/0004_subscriptions.ts"
import webhookRefusals from "./migrations/0005_webhook_refusals.ts"
import sends from "./migrations/0006_sends.ts"
import files from "./migrations/0007_files.ts"
import pacing from "./migrations/0008_pacing.ts"
import messageInbox from "./migrations/0009_message_inbox.ts"
import schedules from "./migrations/0010_schedules.ts"
import autoReplies from "./migrations/0011_auto_replies.ts"
import apiKeys from "./migrations/0012_api_keys.ts"
import identityFilters from "./migrations/0013_identity_filters.ts"
import deviceBlocks from "./migrations/0014_device_blocks.ts"
import clusterNodes from "./migrations/0015_cluster_nodes.ts"
import scheduleKeys from "./migrations/0016_schedule_keys.ts"
import deviceDeaths from "./migrations/0018_device_deaths.ts"
import handOvers from "./migrations/0019_hand_overs.ts"
import heldDevices from "./migrations/0020_held_devices.ts"
import claims from "./migrations/0021_claims.ts"
import outlivedDeaths from "./migrations/0022_outlived_deaths.ts"
import epochs from "./migrations/0023_epochs.ts"

const loader = Migrator.fromRecord({
  "0001_log": log,
  "0002_gateways": gateways,
  "0003_gaps": gaps,
  "0004_subscriptions": subscriptions,
  "0005_webhook_refusals": webhookRefusals,
  "0006_sends": sends,
  "0007_files": files,
  "0008_pacing": pacing,
  "0009_message_inbox": messageInbox,
  "0010_schedules": schedules,
  "0011_auto_replies": autoReplies,
  "0012_api_keys": apiKeys,
  "0013_identity_filters": identityFilters,
  "0014_device_blocks": deviceBlocks,
  "0015_cluster_nodes": clusterNodes,
  "0016_schedule_keys": scheduleKeys,
  "0018_device_deaths": deviceDeaths,
  "0019_hand_overs": handOvers,
  "0020_held_devices": heldDevices,
  "0021_claims": claims,
  "0022_outlived_deaths": outlivedDeaths,
  "0023_epochs": epochs
})

/** Returns number and name of each migration that ran. */
export const migrate = Migrator.make({})({ loader, table: "columba_migrations" }).pipe(
  Effect.withSpan("Migrations.migrate")
)

export const layer = Layer.effectDiscard(migrate)

/**
 * Migrates a database that was replaced while in use, once for all callers at the same time. `renew` does so in any case; `repair`
 * is to be run with the error of a failed statement, and does so if tables or columns are missing. Repeating the statement is left
 * to the caller.
 */
export const makeSchemaRepair = Effect.map(SqlClient.SqlClient, (sql) => {
  const one = Semaphore.makeUnsafe(1)
  const migrateAgain = Effect.provideService(migrate, SqlClient.SqlClient, sql).pipe(
    Effect.tap((ran) =>
      ran.length === 0
        ? Effect.void
        : Effect.logError("The database is new, or a copy from before an upgrade: it was migrated again", {
          migrations: ran.length
        })
    )
  )
  const run = one.withPermitsIfAvailable(1)(Effect.catchCause(
    migrateAgain,
    (cause) => Effect.logWarning("The database could not be migrated; tried again when a statement needs it", cause)
  ))
  return {
    renew: Effect.asVoid(run),
    repair: (error: unknown): Effect.Effect<void> => isSchemaMissing(error) ? Effect.asVoid(run) : Effect.void
  }
})

/**
 * As `unavailable`, for a database that may be replaced while in use: a statement whose tables or columns are missing has done
 * nothing, so it is tried once more after the migration.
 */
export const makeAnswered = Effect.map(makeSchemaRepair, ({ repair }) => (operation: string) => {
  const withinReach = unavailable(operation)
  return <A, E, R>(effect: Effect.Effect<A, E | SqlError.SqlError, R>) =>
    withinReach(Effect.retry(Effect.tapError(effect, repair), { times: 1, while: isSchemaMissing }))
})
