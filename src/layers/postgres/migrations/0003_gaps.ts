/**
 * The ledger of gaps, the time through which the reception of each device is accounted for, and the last time at which each
 * process that ran devices was alive. Only the transactions of the log write them, so a database that is restored to an
 * older state has the log and the ledger of the same moment.
 *
 * All times are the database's own. A gap's id begins with its time, so lists are in order of id.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { rareEffectsFunction } from "./rareEffectsFunction.ts"

const statements = [
  `create table gaps (
    id text collate "C" primary key,
    device_id text collate "C" not null,
    cause text collate "C" not null,
    status text collate "C" not null,
    opened_at timestamptz not null,
    ended_at timestamptz,
    closed_at timestamptz,
    -- With commas.
    proven text collate "C" not null default '',
    recovered integer not null default 0,
    detail text not null
  )`,
  `create index gaps_device on gaps (device_id, id)`,
  `create index gaps_status on gaps (status, id)`,
  // Always few rows, and read at every claim and scrape.
  `create index gaps_open on gaps (device_id, cause) where status = 'open'`,
  `create index gaps_closed on gaps (closed_at) where closed_at is not null`,
  // The ones that an operator should examine, found among the many of gateways whose histories have no acks.
  `create index gaps_messages_unproven on gaps (id) where closed_at is not null
    and not ('messages' = any (string_to_array(proven, ',')))`,
  // Rows change in place, so a page keeps room for the next version of its rows.
  `create table device_watermarks (
    device_id text collate "C" primary key,
    through timestamptz not null,
    swept_at timestamptz
  ) with (fillfactor = 60)`,
  `create table process_heartbeats (
    owner text collate "C" primary key,
    alive_at timestamptz not null
  ) with (fillfactor = 10)`,
  rareEffectsFunction,
  // Ordered against appends by their lock: an append under an older epoch has been committed, or will be refused. The new
  // owner is alive from its claim on, so a device never has an owner without a recorded time. Until it has recorded a
  // state, the time until which the previous owner was alive stays with the device. So a claim that is repeated because its
  // answer was lost, and a claim after an owner that died at once, begin the gap at the same moment.
  `create function columba_claim(p_owner text, p_devices text[])
  returns table (id text, epoch integer, alive_ms float8, claimed_ms float8)
  language plpgsql volatile as $$
  declare
    v_now timestamptz;
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    -- With the precision of the times that processes record themselves, which are compared with this one.
    v_now := date_trunc('milliseconds', clock_timestamp());
    insert into process_heartbeats (owner, alive_at) values (p_owner, v_now) on conflict do nothing;
    return query
      with before as (
        select d.id, coalesce(d.alive_until, h.alive_at) as alive_at
        from devices d left join process_heartbeats h on h.owner = d.owner
        where d.id = any (p_devices)
      )
      update devices d set owner = p_owner, epoch = d.epoch + 1, alive_until = b.alive_at
      from before b where d.id = b.id
      returning d.id, d.epoch, (extract(epoch from b.alive_at) * 1000)::float8,
        (extract(epoch from v_now) * 1000)::float8;
  end
  $$`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
