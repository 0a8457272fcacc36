/** One process at a time runs the fleet of a database. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Redacted, Scope } from "effect"
import { SqlClient } from "effect/sql"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { FleetLease } from "../../../src/services/FleetLease.ts"
import type { LeaseUse } from "../../../src/services/FleetLease.ts"
import { freshDatabase } from "../../support/database.ts"

/** A process, as far as the database can tell. */
const processOn = (url: string) => Effect.orDie(Layer.build(Layer.fresh(PostgresDatabase.layer(Redacted.make(url)))))

/** Takes the lease; `release` returns it. */
const take = Effect.fnUntraced(function*(process: Context.Context<FleetLease>, use: LeaseUse = "alone") {
  const scope = yield* Scope.fork(yield* Effect.scope)
  const lease = yield* Scope.provide(Context.get(process, FleetLease).acquire(use), scope)
  return { lease, release: Scope.close(scope, Exit.void) }
})

/** The sessions that hold the lease; they are ended from outside as a network or an operator does. */
const holders = (sql: SqlClient.SqlClient) =>
  sql<{ pid: number }>`select pid from pg_locks where locktype = 'advisory' and objid = 2 and granted
    and database = (select oid from pg_database where datname = current_database())`

const breakLease = Effect.fnUntraced(function*(sql: SqlClient.SqlClient) {
  const [holder] = yield* holders(sql)
  yield* sql`select pg_terminate_backend(${holder!.pid})`
  return holder!.pid
})

const node = (name: string | null, version = "1.4.2"): LeaseUse => ({ node: name, version })

describe("the fleet's lease on Postgres", () => {
  it.live("is refused while another process has it, names that process, and is free once it is released", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const [first, second] = [yield* processOn(url), yield* processOn(url)]
      const { release } = yield* take(first)
      const refused = yield* Effect.flip(take(second))
      assert.strictEqual(refused._tag, "LeaseTaken")
      assert.match(refused.message, /another process runs the devices of this database: 'columba devices .+ \d+ \w+'/)
      yield* release
      yield* take(second)
    }).pipe(Effect.scoped))

  it.live("is shared by the nodes of a cluster, which exclude any other process, and it them", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const [first, second, alone] = [yield* processOn(url), yield* processOn(url), yield* processOn(url)]
      const one = yield* take(first, node("10.0.0.1:7800"))
      const two = yield* take(second, node("10.0.0.2:7800"))
      yield* one.release
      assert.strictEqual((yield* Effect.flip(take(alone)))._tag, "LeaseTaken")
      yield* two.release
      yield* take(alone)
      assert.strictEqual((yield* Effect.flip(take(first, node("10.0.0.1:7800"))))._tag, "LeaseTaken")
    }).pipe(Effect.scoped))

  it.live("is refused to a second node of one name, which would treat the first one's devices as its own", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const [first, second] = [yield* processOn(url), yield* processOn(url)]
      const { release } = yield* take(first, node("127.0.0.1:7800"))
      const refused = yield* Effect.flip(take(second, node("127.0.0.1:7800")))
      assert.match(refused.message, /this node cannot be 127.0.0.1:7800: another process is.*'columba devices /)
      yield* release
      yield* take(second, node("127.0.0.1:7800"))
    }).pipe(Effect.scoped))

  it.live("is refused if processes run that are more than one minor version away", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const [first, second, third, fourth] = [
        yield* processOn(url),
        yield* processOn(url),
        yield* processOn(url),
        yield* processOn(url)
      ]
      const old = yield* take(first, node("10.0.0.1:7800", "1.4.2"))
      yield* take(second, node("10.0.0.2:7800", "1.5.0"))
      const tooNew = yield* Effect.flip(take(third, node("10.0.0.3:7800", "1.6.0")))
      assert.match(
        tooNew.message,
        /this process has version 1.6.0, and a process of 1.4.x is in the cluster: 'columba /
      )
      assert.match((yield* Effect.flip(take(third, node(null, "2.0.0")))).message, /a process of 1.[45].x is in/)
      assert.match((yield* Effect.flip(take(third, node(null, "1.3.9")))).message, /a process of 1.5.x is in/)
      // Also if the other one runs no devices.
      yield* old.release
      const asking = yield* take(third, node(null, "1.6.0"))
      assert.match(
        (yield* Effect.flip(take(fourth, node("10.0.0.1:7800", "1.4.2")))).message,
        /a process of 1.6.x is in the cluster/
      )
      yield* asking.release
      yield* take(fourth, node("10.0.0.1:7800", "1.4.2"))
    }).pipe(Effect.scoped))

  it.live("is taken again when its connection has broken", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const [first, second] = [yield* processOn(url), yield* processOn(url)]
      const sql = Context.get(second, SqlClient.SqlClient)
      const { lease } = yield* take(first)
      const lost = yield* Effect.forkChild(Effect.flip(lease.lost))
      const broken = yield* breakLease(sql)
      const [now] = yield* holders(sql).pipe(
        Effect.repeat({ until: ([row]) => row !== undefined && row.pid !== broken })
      )
      assert.isDefined(now)
      assert.strictEqual((yield* Effect.flip(take(second)))._tag, "LeaseTaken")
      assert.isUndefined(lost.pollUnsafe())
    }).pipe(Effect.scoped))

  it.live("is lost when another process was faster after its connection had broken", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const [first, second] = [yield* processOn(url), yield* processOn(url)]
      const sql = Context.get(second, SqlClient.SqlClient)
      const { lease } = yield* take(first)
      // Waits in the server's queue for the lock, so it has it at the moment at which the connection breaks.
      const faster = yield* Effect.forkChild(
        sql.withTransaction(Effect.andThen(sql`select pg_advisory_lock(4341001, 2)`, Effect.never))
      )
      yield* sql`select 1 as waiting from pg_locks where locktype = 'advisory' and objid = 2 and not granted`.pipe(
        Effect.repeat({ until: (rows) => rows.length > 0 })
      )
      yield* breakLease(sql)
      const { holder } = yield* Effect.flip(lease.lost)
      assert.match(holder, /^'columba' at /)
      yield* Fiber.interrupt(faster)
    }).pipe(Effect.scoped))
})
