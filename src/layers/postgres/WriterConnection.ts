/**
 * The connection on which the log is written. For a server it is a separate one outside of the pool, so that a batch
 * costs only its statement. A pooled connection may be shared, and another user of the same connection
 * would wait for as long as the writer kept it. The embedded database has one connection, which is borrowed for each batch.
 *
 * After any failure the connection is closed and another one is opened. A kept connection may have died unnoticed since
 * the previous batch, so a batch that finds it dead is retried once at once; an append may be repeated.
 *
 * One timer for all batches, instead of one for each, monitors the longest wait on a kept connection: a statement without an
 * answer in time is ended by closing its connection.
 */
import { Clock, Duration, Effect, Exit, Option, Scope } from "effect"
import { PgConnection } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import type { AppendStatement } from "./appendStatement.ts"
import { ListenConfig } from "./DatabaseSignals.ts"
import { answerMax, isConnectionLost, overdue, withinAnswerMax } from "./sqlErrors.ts"

/** The interval of the checks: a statement is ended later than `answerMax` by at most this. */
const watchInterval = Duration.seconds(1)

const answerMaxNanos = Duration.toNanosUnsafe(answerMax)

type Rows = ReadonlyArray<object>
type Execute = (statement: AppendStatement) => Effect.Effect<Rows, SqlError.SqlError>

interface Kept {
  readonly connection: PgConnection.PgConnection
  readonly scope: Scope.Closeable
}

/** A statement without an answer yet. */
interface Running {
  readonly since: bigint
  /** The statement has waited too long, so its connection was closed. */
  overdue: boolean
}

/** One statement at a time. */
export const makeWriterConnection: Effect.Effect<
  Execute,
  never,
  SqlClient.SqlClient | Scope.Scope
> = Effect.gen(function*() {
  const config = yield* Effect.serviceOption(ListenConfig)
  return Option.isSome(config) ? yield* keepConnection(config.value) : borrowConnection(yield* SqlClient.SqlClient)
})

const borrowConnection = (client: SqlClient.SqlClient): Execute => ({ parameters, sql }) =>
  withinAnswerMax(Effect.scoped(Effect.flatMap(
    client.reserve,
    (connection) => connection.execute(sql, parameters, undefined) as Effect.Effect<Rows, SqlError.SqlError>
  )))

const keepConnection = Effect.fnUntraced(function*(
  config: PgConnection.Config
): Effect.fn.Return<Execute, never, Scope.Scope> {
  const clock = yield* Clock.Clock
  let kept: Kept | null = null
  let running: Running | null = null
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

  const runOn = ({ connection }: Pick<Kept, "connection">, { parameters, sql }: AppendStatement) =>
    Effect.onExitPrimitive(connection.query(sql, parameters), (exit) => {
      if (exit._tag === "Failure") return giveUp
      running = null
      return undefined
    })
  const openAndRun = (statement: AppendStatement) =>
    Effect.flatMap(open, (connection) => runOn({ connection }, statement))

  const look = Effect.suspend(() => {
    if (running === null || clock.monotonicTimeNanosUnsafe() - running.since < answerMaxNanos) return Effect.void
    running.overdue = true
    return giveUp
  })
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(Effect.sleep(watchInterval), look)))

  return (statement) =>
    Effect.suspend(() => {
      const call: Running = { since: clock.monotonicTimeNanosUnsafe(), overdue: false }
      running = call
      const failed = (error: SqlError.SqlError) => {
        running = null
        return Effect.fail(call.overdue ? overdue : error)
      }
      const anew = Effect.catch(openAndRun(statement), failed)
      return kept === null
        ? anew
        : Effect.catch(
          runOn(kept, statement),
          (error) => isConnectionLost(error) && !call.overdue ? anew : failed(error)
        )
    }).pipe(Effect.map(({ rows }) => rows))
})
