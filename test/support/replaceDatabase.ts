/** Replaces a database under the processes that use it, as an operator or a failover would. */
import { PgClient } from "@effect/sql-pg"
import { Effect, Redacted } from "effect"
import type { Scope } from "effect"
import type { SqlError } from "effect/sql"
import * as Reactivity from "effect/reactivity/Reactivity"

export interface DatabaseAdmin {
  /** Keeps a copy of the database as it is now. Sessions are cut, and can reconnect afterwards. */
  readonly copy: Effect.Effect<void, SqlError.SqlError>
  /** Replaces the database by the copy. */
  readonly restore: Effect.Effect<void, SqlError.SqlError>
  /** Drops the database and creates an empty one with the same name. */
  readonly recreate: Effect.Effect<void, SqlError.SqlError>
}

export const makeDatabaseAdmin = Effect.fnUntraced(function*(
  url: string
): Effect.fn.Return<DatabaseAdmin, SqlError.SqlError, Scope.Scope> {
  const server = new URL(url)
  const name = server.pathname.slice(1)
  const copied = `${name}_copy`
  server.pathname = "/postgres"
  const client = yield* PgClient.makeClient({ url: Redacted.make(server.href) }).pipe(Effect.provide(Reactivity.layer))
  const run = (text: string) => Effect.asVoid(client.unsafe(text))
  const cutSessions = Effect.andThen(
    run(`ALTER DATABASE ${name} ALLOW_CONNECTIONS false`),
    run(`SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${name}'`)
  )
  const allowSessions = run(`ALTER DATABASE ${name} ALLOW_CONNECTIONS true`)
  yield* Effect.addFinalizer(() => Effect.orDie(run(`DROP DATABASE IF EXISTS ${copied} WITH (FORCE)`)))
  return {
    copy: Effect.andThen(Effect.andThen(cutSessions, run(`CREATE DATABASE ${copied} TEMPLATE ${name}`)), allowSessions),
    restore: Effect.andThen(
      Effect.andThen(cutSessions, run(`DROP DATABASE ${name}`)),
      run(`ALTER DATABASE ${copied} RENAME TO ${name}`)
    ),
    recreate: Effect.andThen(
      Effect.andThen(cutSessions, run(`DROP DATABASE ${name} WITH (FORCE)`)),
      run(`CREATE DATABASE ${name}`)
    )
  }
})
