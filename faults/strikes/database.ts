/** Faults of Postgres. */
import { spawn } from "node:child_process"
import { Effect } from "effect"
import { query } from "../../test/support/Ledger.ts"
import type { Arrangement } from "../Arrangement.ts"
import { withFullDisk } from "./fullDisk.ts"
import { session, wait } from "./shared.ts"
import type { Strike } from "./shared.ts"

export { writeBeside } from "./writeBeside.ts"

const administer = (on: Arrangement, text: string) => Effect.asVoid(query(on.servers.postgres.url, text))

const name = (on: Arrangement): string => new URL(on.databaseUrl).pathname.slice(1)

export const restart: Strike<"restart database"> = (on, { mode }) => on.servers.postgres.restart(mode)

export const kill: Strike<"kill database"> = (on) => Effect.andThen(on.servers.postgres.kill, on.servers.postgres.start)

export const freeze: Strike<"freeze database"> = (on, { millis }) =>
  on.servers.postgres.freeze.pipe(Effect.andThen(wait(millis)), Effect.andThen(on.servers.postgres.thaw))

/** Only those of the program. */
export const endSessions = (on: Arrangement) =>
  administer(
    on,
    `select pg_terminate_backend(pid) from pg_stat_activity
    where datname = '${name(on)}' and application_name like 'columba%' and pid <> pg_backend_pid()`
  )

/** While another session's transaction is open. */
const inTransaction = (on: Arrangement, statement: string, millis: number) =>
  Effect.scoped(Effect.gen(function*() {
    const client = yield* session(on.databaseUrl)
    yield* Effect.orDie(client.withTransaction(Effect.andThen(client.unsafe(statement), wait(millis))))
  }))

export const lockTable: Strike<"lock table"> = (on, { millis }) =>
  inTransaction(on, "lock table events in access exclusive mode", millis)

export const holdSnapshot: Strike<"hold snapshot"> = (on, { millis }) =>
  inTransaction(on, "select count(*) from events, log_identity", millis)

/** How long an append waits behind its own lock: long enough that it has begun. */
const embraceMillis = 500

/**
 * An append takes its lock first and writes events then. This session locks the table of events first and takes that lock then, and
 * is patient for an hour: the server ends the append, which has waited for longer than the server's own patience.
 */
export const deadlock: Strike<"deadlock"> = (on, { times }) =>
  Effect.gen(function*() {
    const client = yield* session(on.databaseUrl)
    yield* Effect.orDie(client.unsafe("set deadlock_timeout = '1h'"))
    for (let time = 0; time < times; time++) {
      yield* Effect.orDie(client.withTransaction(
        client.unsafe("lock table events in share mode").pipe(
          Effect.andThen(wait(embraceMillis)),
          Effect.andThen(client.unsafe("select pg_advisory_xact_lock(4341001, 1)"))
        )
      ))
    }
  })

/** More than the server allows in all. */
const connectionsMax = 320

export const takeConnections: Strike<"take connections"> = (on, { millis }) =>
  Effect.scoped(Effect.gen(function*() {
    const admin = yield* session(on.servers.postgres.url)
    yield* endSessions(on)
    // Each of these holds one; the server refuses the last ones.
    yield* Effect.forEach(
      Array.from({ length: connectionsMax }),
      () => Effect.ignoreCause(session(on.servers.postgres.url)),
      { concurrency: 20, discard: true }
    )
    yield* wait(millis)
    yield* Effect.orDie(admin.unsafe("select 1"))
  }))

export const refuseWrites: Strike<"refuse writes"> = (on, { millis }) =>
  administer(on, `alter database ${name(on)} set default_transaction_read_only = on`).pipe(
    Effect.andThen(endSessions(on)),
    Effect.andThen(wait(millis)),
    Effect.andThen(administer(on, `alter database ${name(on)} reset default_transaction_read_only`)),
    Effect.andThen(endSessions(on))
  )

/** With the program of the later version, which the row has built; the running one has this version. */
export const migrate: Strike<"migrate"> = (on) =>
  Effect.callback<void>((resume) => {
    const child = spawn(process.execPath, [on.plantedProgram ?? "", "migrate", "--database-url", on.databaseUrl], {
      env: { PATH: process.env["PATH"] },
      stdio: ["ignore", "ignore", "inherit"]
    })
    child.on("exit", (code) =>
      resume(code === 0 ? Effect.void : Effect.die(new Error(`columba migrate ended with ${code}`))))
  })

export const fillDisk: Strike<"fill disk"> = (on, { millis }) => withFullDisk(on.databaseUrl, wait(millis))
