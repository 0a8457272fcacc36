/**
 * `columba migrate`: brings the database to the schema of this version and reports the changes. `serve` does the same.
 */
import { Effect, Logger } from "effect"
import { Command } from "effect/cli"
import * as Settings from "../layers/Settings.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { print } from "./printer.ts"
import { givenFlags, settingsFlags } from "./settingsFlags.ts"
import { describeDatabase } from "../layers/app/addresses.ts"

export const migrate = Command.make(
  "migrate",
  settingsFlags(["databaseUrl", "dataDir"]),
  (flags) =>
    Effect.gen(function*() {
      const settings = yield* Settings.load(givenFlags(flags))
      const [Database, Migrations] = yield* Effect.promise(() =>
        Promise.all([import("../layers/app/database.ts"), import("../layers/postgres/Migrations.ts")])
      )
      const done = yield* Database.openDatabase(settings.database).pipe(
        Effect.flatMap((database) => Effect.provideContext(Migrations.migrate, database)),
        Effect.scoped,
        // The migrator logs each step; a person wants one sentence at the end.
        Effect.provide(Logger.layer([])),
        Effect.mapError((error) =>
          error._tag === "StartFailed" ? error : Database.databaseFailed(settings.database, error)
        ),
        Effect.mapError(({ hint, message }) => CommandFailed.of(message, hint, exitCode.unavailable))
      )
      const where = describeDatabase(settings.database)
      yield* print(
        done.length === 0
          ? `${where} is up to date`
          : `${where}: ran ${done.map(([id, name]) => `${String(id).padStart(4, "0")}_${name}`).join(", ")}`
      )
    })
).pipe(
  Command.withDescription("Migrates the database to the schema of this version. 'serve' does this at start"),
  Command.withShortDescription("Brings the database schema up to date"),
  Command.withExamples([
    { command: "columba migrate --database-url postgres://columba@db/columba", description: "Before a rollout" }
  ])
)
