/** Webhooks that were refused by a process without the device's actor, until the actor's process has recorded the gap. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table webhook_refusals (
    device_id text collate "C" primary key,
    first_at timestamptz not null,
    last_at timestamptz not null
  )`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
