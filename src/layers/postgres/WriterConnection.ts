/**
 * The connection on which the log is written. A server's pool gives it for good, so that a batch costs its statement and
 * nothing else; shared connections are pipelined, and a reader's statement would wait behind an append that waits for
 * another process's. The embedded database has one connection, which is borrowed for each batch.
 *
 * After any failure the connection is given back and another one is taken. One that was kept may have died unnoticed
 * since the batch before, so a batch that finds it dead is tried once more at once; an append may be repeated.
 *
 * The longest wait is watched by one timer for all batches instead of one for each.
 */
import { Clock, Duration, Effect, Exit, Fiber, Scope } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlConnection, SqlError } from "effect/sql"
import type { AppendStatement } from "./appendStatement.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { answerMax, isConnectionLost, overdue } from "./sqlErrors.ts"

/** How often the running statement is looked at: it is ended later than `answerMax` by at most this. */
const watchInterval = Duration.seconds(1)

const answerMaxNanos = Duration.toNanosUnsafe(answerMax)

type Rows = ReadonlyArray<object>
type Execute = (statement: AppendStatement) => Effect.Effect<Rows, SqlError.SqlError>

interface Kept {
  readonly connection: SqlConnection.Connection
  readonly scope: Scope.Closeable
}

/** One statement at a time. */
export const makeWriterConnection: Effect.Effect<
  Execute,
  never,
  SqlClient.SqlClient | DatabaseSignals | Scope.Scope
> = Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  const { shared } = yield* DatabaseSignals
  return yield* watch(shared ? yield* keepConnection(sql) : borrowConnection(sql))
})

const run = (connection: SqlConnection.Connection, { parameters, sql }: AppendStatement) =>
  connection.execute(sql, parameters, undefined) as Effect.Effect<Rows, SqlError.SqlError>

const borrowConnection = (sql: SqlClient.SqlClient): Execute => (statement) =>
  Effect.scoped(Effect.flatMap(sql.reserve, (connection) => run(connection, statement)))

const keepConnection = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient
): Effect.fn.Return<Execute, never, Scope.Scope> {
  let kept: Kept | null = null
  const giveBack = Effect.suspend(() => {
    const scope = kept?.scope
    kept = null
    return scope === undefined ? Effect.void : Scope.close(scope, Exit.void)
  })
  yield* Effect.addFinalizer(() => giveBack)
  const take = Effect.gen(function*() {
    const scope = yield* Scope.make()
    const connection = yield* Scope.provide(sql.reserve, scope).pipe(
      Effect.onError(() => Scope.close(scope, Exit.void))
    )
    kept = { connection, scope }
    return connection
  })
  const runOnce = (connection: SqlConnection.Connection, statement: AppendStatement) =>
    Effect.onError(run(connection, statement), () => giveBack)
  return (statement) => {
    const takeAndRun = Effect.flatMap(take, (connection) => runOnce(connection, statement))
    if (kept === null) return takeAndRun
    return Effect.catchIf(
      runOnce(kept.connection, statement),
      isConnectionLost,
      () => takeAndRun
    )
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
