/**
 * Gateways as rows. `sealed` holds the secrets by field, each sealed for this row and field; a gateway whose source is
 * not the API has none, because its secrets stay in the process that adds it.
 *
 * Devices name their gateway without a foreign key: an inactive device keeps the name of a deleted gateway, and
 * belongs to it again when a gateway of that name is added again.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table gateways (
    name text collate "C" primary key,
    dialect text not null,
    url text not null,
    basic_user text,
    sealed json not null default '{}',
    source text not null,
    active boolean not null default true,
    revision integer not null default 1,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
  )`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
