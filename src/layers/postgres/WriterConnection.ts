/**
 * The connection on which the log is written. A server gets one of its own for that, outside of the pool, so that a batch
 * costs its statement and nothing else. A pooled connection may be shared, and another user of the same connection
 * would wait for as long as the writer kept it. The embedded database has one connection, which is borrowed for each batch.
 *
 * After any failure the connection is closed and another one is opened. One that was kept may have died unnoticed since
 * the batch before, so a batch that finds it dead is tried once more at once; an append may be repeated.
 *
 * The longest wait is watched by one timer for all batches instead of one for each.
 */
import { Clock, Duration, Effect, Exit, Fiber, Option, Scope } from "effect"
import { PgConnection } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import type { AppendStatement } from "./appendStatement.ts"
import { ListenConfig } from "./DatabaseSignals.ts"
import { answerMax, isConnectionLost, overdue } from "./sqlErrors.ts"

/** How often the running statement is looked at: it is ended later than `answerMax` by at most this. */
const watchInterval = Duration.seconds(1)

const answerMaxNanos = Duration.toNanosUnsafe(answerMax)

type Rows = ReadonlyArray<object>
type Execute = (statement: AppendStatement) => Effect.Effect<Rows, SqlError.SqlError>

interface Kept {
  readonly connection: PgConnection.PgConnection
  readonly scope: Scope.Closeable
}

/** One statement at a time. */
export const makeWriterConnection: Effect.Effect<
  Execute,
  never,
  SqlClient.SqlClient | Scope.Scope
> = Effect.gen(function*() {
  const config = yield* Effect.serviceOption(ListenConfig)
  return yield* watch(
    Option.isSome(config) ? yield* keepConnection(config.value) : borrowConnection(yield* SqlClient.SqlClient)
  )
})

const borrowConnection = (client: SqlClient.SqlClient): Execute => ({ parameters, sql }) =>
  Effect.scoped(Effect.flatMap(
    client.reserve,
    (connection) => connection.execute(sql, parameters, undefined) as Effect.Effect<Rows, SqlError.SqlError>
  ))

const keepConnection = Effect.fnUntraced(function*(
  config: PgConnection.Config
): Effect.fn.Return<Execute, never, Scope.Scope> {
  let kept: Kept | null = null
  const giveUp = Effect.suspend(() => {
    const scope = kept?.scope
    kept = null
    return scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
  })
  yield* Effect.addFinalizer(() => giveUp)
  const open = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const connection = yield* Scope.provide(PgConnection.make({ ...config, multiplex: false }), scope).pipe(
      Effect.onError(() => Scope.close(scope, Exit.void))
    )
    kept = { connection, scope }
    return connection
  })
  const runOnce = (connection: PgConnection.PgConnection, { parameters, sql }: AppendStatement) =>
    Effect.onError(Effect.map(connection.query(sql, parameters), ({ rows }) => rows), () => giveUp)
  return (statement) => {
    const openAndRun = Effect.flatMap(open, (connection) => runOnce(connection, statement))
    return kept === null
      ? openAndRun
      : Effect.catchIf(runOnce(kept.connection, statement), isConnectionLost, () => openAndRun)
  }
})

/** Ends a statement that is not answered within `answerMax`, as `withinAnswerMax` does. */
const watch = Effect.fnUntraced(function*(execute: Execute): Effect.fn.Return<Execute, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  const runFork = Effect.runForkWith(yield* Effect.context<never>())
  let running: { readonly since: bigint; readonly end: () => void } | null = null
  const look = Effect.sync(() => {
    if (running !== null && clock.monotonicTimeNanosUnsafe() - running.since >= answerMaxNanos) running.end()
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(watchInterval), look)))
  return (statement) =>
    Effect.callback<Rows, SqlError.SqlError>((resume) => {
      const fiber = runFork(execute(statement))
      running = {
        since: clock.monotonicTimeNanosUnsafe(),
        end: () => resume(Effect.andThen(Fiber.interrupt(fiber), Effect.fail(overdue)))
      }
      fiber.addObserver((exit) => {
        running = null
        resume(exit)
      })
      return Fiber.interrupt(fiber)
    })
})
