/** The connection of the log's writer: what happens to a statement that gets no answer. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { TestClock } from "effect/testing"
import { overdue } from "../../../src/layers/postgres/sqlErrors.ts"
import { makeWriterConnection } from "../../../src/layers/postgres/WriterConnection.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { freshDatabase } from "../../support/database.ts"

const statement = (sql: string) => ({ sql, parameters: [] })

const openDatabase = Effect.gen(function*() {
  const url = yield* freshDatabase
  return yield* Layer.build(PostgresDatabase.layer(Redacted.make(url)))
})

const writer = Effect.flatMap(openDatabase, (database) => Effect.provideContext(makeWriterConnection, database))

/** The session that answers. */
const session = statement("select pg_backend_pid() as pid")

it.effect("keeps its connection as long as every statement is answered", () =>
  Effect.gen(function*() {
    const execute = yield* writer
    const first = yield* execute(session)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* execute(session), first)
  }))

it.effect("ends a statement without an answer within fifteen seconds, and gives the next one another connection", () =>
  Effect.gen(function*() {
    const execute = yield* writer
    const first = yield* execute(session)
    const waiting = yield* Effect.forkChild(execute(statement("select pg_sleep(9)")), { startImmediately: true })
    yield* TestClock.adjust("14 seconds")
    assert.isUndefined(waiting.pollUnsafe())
    yield* TestClock.adjust("2 seconds")
    assert.strictEqual(yield* Effect.flip(Fiber.join(waiting)), overdue)
    const second = yield* execute(session)
    assert.notDeepEqual(second, first)
    yield* TestClock.adjust("1 minute")
    assert.deepStrictEqual(yield* execute(session), second)
  }))

it.effect("retries a statement once if its connection has died since the previous one", () =>
  Effect.gen(function*() {
    const database = yield* openDatabase
    const execute = yield* Effect.provideContext(makeWriterConnection, database)
    const first = yield* execute(session)
    const { pid } = first[0] as { readonly pid: number }
    yield* Context.get(database, SqlClient.SqlClient).unsafe(`select pg_terminate_backend(${pid}, 5000)`)
    assert.notDeepEqual(yield* execute(session), first)
  }))
