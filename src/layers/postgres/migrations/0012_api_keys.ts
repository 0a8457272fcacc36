/** API keys: their digests, and the permissions of each. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table api_keys (
    id text collate "C" primary key,
    ordinal bigint generated always as identity,
    name text collate "C" not null unique,
    digest text collate "C" not null,
    previous_digest text collate "C",
    previous_until timestamptz,
    scopes text[] not null,
    devices text[],
    requests_per_second integer,
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    expires_at timestamptz,
    rotated_at timestamptz
  )`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
