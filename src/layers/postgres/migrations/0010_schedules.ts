/**
 * Recurring sends. `next_at` and `next_id` are the next occurrence and the message that was stored for it; null: it is still to
 * be planned. `content` is null once it was erased.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table schedules (
    id text collate "C" primary key,
    ordinal bigint generated always as identity,
    device_id text collate "C" not null,
    chat text collate "C" not null,
    content json,
    on_unknown text collate "C" not null,
    cron text not null,
    zone text not null,
    until timestamptz,
    grace_seconds integer not null,
    paused boolean not null,
    revision integer not null default 0,
    next_at timestamptz,
    next_id text collate "C",
    last_at timestamptz,
    last_id text collate "C",
    skipped integer not null default 0,
    ended_at timestamptz,
    end_reason text collate "C",
    created_at timestamptz not null,
    updated_at timestamptz not null
  )`,
  `create index schedules_place on schedules (ordinal)`,
  `create index schedules_next on schedules (next_at) where ended_at is null and not paused`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
