/** The reports of a cluster's processes. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table cluster_nodes (
    owner text primary key,
    name text not null,
    started_at timestamptz not null,
    seen_at timestamptz not null,
    version text not null,
    roles text[] not null,
    weight float8,
    lease_ms float8 not null,
    settings json not null,
    moves json not null
  )`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
