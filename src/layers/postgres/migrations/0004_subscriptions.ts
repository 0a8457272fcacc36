/**
 * Subscriptions: their settings, the record of their deliveries, and the log of attempts. `sealed` holds the
 * secrets by field, each sealed for this row and field. The cursor of a subscription is a row of `sink_cursors`, for
 * which events wait only as long as its `keep`.
 *
 * `health` changes often and is in the row, so that row keeps room for its next version.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table subscriptions (
    id text collate "C" primary key,
    ordinal bigint generated always as identity unique,
    name text,
    url text not null,
    kinds text[],
    devices text[],
    headers text[] not null default '{}',
    rate_limit integer,
    sealed json not null,
    previous_secret_until timestamptz,
    paused boolean not null default false,
    disabled_at timestamptz,
    disabled_reason text,
    enabled_times integer not null default 0,
    revision integer not null default 1,
    health json not null,
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp()
  ) with (fillfactor = 50)`,
  `create table subscription_deliveries (
    ordinal bigint generated always as identity primary key,
    subscription text collate "C" not null references subscriptions on delete cascade,
    event_id uuid not null,
    seq bigint not null,
    kind text not null,
    device_id text not null,
    attempt integer not null,
    at timestamptz not null,
    outcome text not null,
    status integer,
    millis integer not null,
    detail text,
    abandoned boolean not null
  )`,
  `create index subscription_deliveries_of on subscription_deliveries (subscription, ordinal)`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
