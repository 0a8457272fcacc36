/** Storage on new databases, for tests. */
import { Effect, Layer, Redacted } from "effect"
import * as EmbeddedDatabase from "../../src/layers/postgres/Embedded.ts"
import * as PostgresDatabase from "../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../src/layers/postgres/SqlStorage.ts"
import { freshDatabase } from "./database.ts"
import { freshDirectory } from "./directory.ts"

/** The log and both repositories on a new database; the `SqlClient` stays reachable. */
export const layerFreshPostgres = Layer.unwrap(Effect.map(freshDatabase, (url) => layerPostgresAt(url)))

export const layerPostgresAt = (url: string) =>
  SqlStorage.layer.pipe(Layer.provideMerge(PostgresDatabase.layer(Redacted.make(url))), Layer.orDie)

export const layerFreshEmbedded = Layer.unwrap(
  Effect.map(
    freshDirectory,
    (dataDir) => SqlStorage.layer.pipe(Layer.provideMerge(EmbeddedDatabase.layer({ dataDir })), Layer.orDie)
  )
)
