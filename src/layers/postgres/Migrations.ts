/**
 * Brings the database to the schema this build needs. Runs at every start and changes nothing when there is nothing to
 * do. Processes that start at once are safe: the migrator locks its table, and the loser of the race to create that
 * table finds it there.
 */
import { Effect, Layer } from "effect"
import { Migrator } from "effect/sql"
import log from "./migrations/0001_log.ts"
import gateways from "./migrations/0002_gateways.ts"

const loader = Migrator.fromRecord({ "0001_log": log, "0002_gateways": gateways })

/** Returns what it ran: number and name of each. */
export const migrate = Migrator.make({})({ loader, table: "columba_migrations" }).pipe(
  Effect.withSpan("Migrations.migrate")
)

export const layer = Layer.effectDiscard(migrate)
