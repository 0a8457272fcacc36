/**
 * The embedded database: Postgres compiled to WebAssembly, running in this process over a directory of its own. It needs no
 * installation, and takes the same SQL as a server.
 *
 * Commits survive any end of this process. The engine does not wait for the disk, so a machine that loses power may lose
 * the last seconds. A server gives stronger guarantees.
 *
 * The engine runs one statement at a time and does not guard its directory, so a semaphore orders the statements and a
 * lock on the directory keeps a second process out.
 */
import { Effect, Layer, Semaphore, Stream } from "effect"
import { PgClient, PgTypes } from "@effect/sql-pg"
import { PGlite } from "@electric-sql/pglite"
import { Reactivity } from "effect/reactivity"
import { SqlClient, SqlError } from "effect/sql"
import type { SqlConnection } from "effect/sql"
import { mkdirSync } from "node:fs"
import { join } from "node:path"
import { FleetLease } from "../../services/FleetLease.ts"
import * as DatabaseSignals from "./DatabaseSignals.ts"
import { acquireDirectoryLock, DirectoryLost, EmbeddedDatabaseUnusable, makeDirectoryCheck } from "./directoryLock.ts"

/** Parameters of a statement in the engine's form: values without the wire codec's wrapping. */
const plainParameters = (parameters: ReadonlyArray<unknown>): Array<unknown> =>
  parameters.map((parameter) => {
    const value = PgTypes.isParameter(parameter) ? parameter.value : parameter
    return typeof value === "bigint" ? value.toString() : value
  })

/** Classifies errors like the server's client, so that both databases' failures mean the same to the layers above. */
const toSqlError = (cause: unknown): SqlError.SqlError => {
  const fields = cause as { readonly code?: unknown; readonly constraint?: unknown }
  const code = typeof fields.code === "string" ? fields.code : ""
  const props = { cause, message: "The embedded database refused a statement", operation: "query" }
  const constraint = typeof fields.constraint === "string" ? fields.constraint : "unknown"
  const reason = code === "23505"
    ? new SqlError.UniqueViolation({ ...props, constraint })
    : code.startsWith("23")
    ? new SqlError.ConstraintError(props)
    : code.startsWith("42")
    ? new SqlError.SqlSyntaxError(props)
    : new SqlError.UnknownError(props)
  return new SqlError.SqlError({ reason })
}

/**
 * Interruption waits for the running statement: the engine cannot stop one, and the next must not start concurrently.
 * The directory is checked before a statement, so that nothing is written into another one, and after it, so that
 * nothing counts as committed that went into deleted files.
 */
const makeConnection = (engine: PGlite, checkDirectory: () => void): SqlConnection.Connection => {
  const run = (sql: string, parameters: ReadonlyArray<unknown>, rowMode: "object" | "array") =>
    Effect.uninterruptible(Effect.tryPromise({
      try: async () => {
        checkDirectory()
        const result = await engine.query(sql, plainParameters(parameters), { rowMode })
        checkDirectory()
        return result
      },
      catch: (cause) => cause instanceof DirectoryLost ? directoryLost(cause) : toSqlError(cause)
    }))
  const execute: SqlConnection.Connection["execute"] = (sql, parameters, transformRows) =>
    Effect.map(run(sql, parameters, "object"), (result) => {
      const rows = result.rows as ReadonlyArray<object>
      return transformRows === undefined ? rows : transformRows(rows)
    })
  const executeValues: SqlConnection.Connection["executeValues"] = (sql, parameters) =>
    Effect.map(run(sql, parameters, "array"), (result) => result.rows as ReadonlyArray<ReadonlyArray<unknown>>)
  return {
    execute,
    executeUnprepared: execute,
    executeValues,
    executeValuesUnprepared: executeValues,
    executeRaw: (sql, parameters) => run(sql, parameters, "object"),
    executeStream: (sql, parameters, transformRows) =>
      Stream.unwrap(Effect.map(execute(sql, parameters, transformRows), Stream.fromIterable))
  }
}

const directoryLost = (cause: DirectoryLost): SqlError.SqlError =>
  new SqlError.SqlError({
    reason: new SqlError.ConnectionError({ cause, message: cause.message, operation: "query" })
  })

const makeClient = Effect.fnUntraced(function*(dataDir: string) {
  yield* Effect.try({
    try: () => mkdirSync(dataDir, { recursive: true, mode: 0o700 }),
    catch: (cause) => EmbeddedDatabaseUnusable.of(dataDir, cause)
  })
  const lock = yield* acquireDirectoryLock(dataDir)
  const engine = yield* Effect.acquireRelease(
    Effect.tryPromise({
      try: () => PGlite.create(join(dataDir, "pgdata")),
      catch: (cause) => EmbeddedDatabaseUnusable.of(dataDir, cause)
    }),
    (opened) => Effect.promise(() => opened.close())
  )
  const semaphore = Semaphore.makeUnsafe(1)
  const connection = makeConnection(engine, makeDirectoryCheck(dataDir, join(dataDir, "pgdata", "PG_VERSION"), lock))
  const acquirer = Effect.as(Semaphore.takeScoped(semaphore, 1), connection)
  return yield* SqlClient.make({
    driver: "pglite",
    acquirer,
    transactionAcquirer: acquirer,
    borrower: (use) => semaphore.withPermit(use(connection)),
    compiler: PgClient.makeCompiler(),
    releaseSavepoint: (name) => `RELEASE SAVEPOINT ${name}`,
    spanAttributes: [["db.system.name", "postgresql"]]
  })
})

/** Provides `SqlClient`, `DatabaseSignals` and `FleetLease`. Fails when another process has the directory. */
export const layer = (options: { readonly dataDir: string }) =>
  Layer.mergeAll(
    Layer.effect(SqlClient.SqlClient, makeClient(options.dataDir)).pipe(Layer.provide(Reactivity.layer)),
    DatabaseSignals.layerLocal,
    FleetLease.layerAlone
  )
