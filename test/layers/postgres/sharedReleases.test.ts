/** Shards that are released at the same time, in a database that counts the statements for it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Layer, Redacted } from "effect"
import { RunnerAddress, ShardId } from "effect/cluster"
import { SqlClient } from "effect/sql"
import * as SharedReleases from "../../../src/layers/cluster/sharedReleases.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { freshDatabase } from "../../support/database.ts"

const here = RunnerAddress.make("127.0.0.1", 7800)
const shards = Array.from({ length: 100 }, (_, index) => ShardId.make("default", index + 1))

describe("shards that are released together", () => {
  it.live("need one statement, and those of other nodes stay; a statement that fails fails for each", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const context = yield* Layer.build(PostgresDatabase.layer(Redacted.make(url)))
      yield* Effect.provideContext(
        Effect.gen(function*() {
          const sql = yield* SqlClient.SqlClient
          yield* sql`create table locks (shard_id text primary key, address text not null)`
          yield* sql`create table statements (n integer)`
          yield* sql`create function count_statement() returns trigger language plpgsql as
            'begin insert into statements select count(*) from gone; return null; end'`
          yield* sql`create trigger counted after delete on locks referencing old table as gone
            for each statement execute function count_statement()`
          yield* sql`insert into locks select 'default:' || n, case when n > 90 then 'other:1' else '127.0.0.1:7800' end
            from generate_series(1, 200) n`
          const release = yield* SharedReleases.make("locks")
          yield* Effect.forEach(shards, (shard) => release(here, shard), { concurrency: "unbounded", discard: true })
          assert.deepStrictEqual(yield* sql`select n from statements`, [{ n: 90 }])
          assert.deepStrictEqual(yield* sql`select count(*)::integer as n from locks`, [{ n: 110 }])

          yield* sql`drop table locks`
          const exits = yield* Effect.forEach(shards, (shard) => Effect.exit(release(here, shard)), {
            concurrency: "unbounded"
          })
          assert.isTrue(exits.every(Exit.isFailure))
        }),
        context
      )
    }))
})
