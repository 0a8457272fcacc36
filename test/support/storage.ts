/** Storage on databases of their own, for tests. */
import { mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { Effect, Layer, Redacted } from "effect"
import * as EmbeddedDatabase from "../../src/layers/postgres/Embedded.ts"
import * as PostgresDatabase from "../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../src/layers/postgres/SqlStorage.ts"
import { freshDatabase } from "./database.ts"

/** The log and both repositories on a database of their own; the `SqlClient` stays reachable. */
export const layerFreshPostgres = Layer.unwrap(Effect.map(freshDatabase, (url) => layerPostgresAt(url)))

export const layerPostgresAt = (url: string) =>
  SqlStorage.layer.pipe(Layer.provideMerge(PostgresDatabase.layer(Redacted.make(url))), Layer.orDie)

export const freshDirectory = Effect.acquireRelease(
  Effect.sync(() => mkdtempSync(join(tmpdir(), "columba-test-"))),
  (directory) => Effect.sync(() => rmSync(directory, { recursive: true, force: true }))
)

export const layerFreshEmbedded = Layer.unwrap(
  Effect.map(
    freshDirectory,
    (dataDir) => SqlStorage.layer.pipe(Layer.provideMerge(EmbeddedDatabase.layer({ dataDir })), Layer.orDie)
  )
)
