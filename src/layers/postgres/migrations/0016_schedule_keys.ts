/**
 * The schedule of each idempotency key. A separate table, because a schedule may be deleted while its key is still valid, and
 * a repeat of the request must not create another one.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table schedule_keys (
    device_id text collate "C",
    key text collate "C",
    digest uuid not null,
    schedule_id text collate "C" not null,
    created_at timestamptz not null,
    primary key (device_id, key)
  )`,
  `create index schedule_keys_age on schedule_keys (created_at)`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
