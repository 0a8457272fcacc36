/**
 * The tables of the log and of the state that it keeps consistent: identities, message status, spellings of accounts,
 * cursors, and the devices.
 *
 * `events` holds every event and every message, in partitions by number range that retention drops whole. Nothing in it
 * is unique but the number: a global unique index on random ids would touch a random page per event. Identities live
 * in a table of their own, in generations by number range (see docs/decisions/0012-log-storage.md). A row of
 * `identities` never changes, so that generations can be merged while appends go on; the digest of the content, which
 * an erasure removes, is in the event.
 * `events.data` is `json`, not `jsonb`: NUL and lone-surrogate escapes must survive, and the text is returned as it was
 * committed. Ids compare as bytes (collation C), which costs a fraction of a language's collation in every index.
 * `events.bytes` is the length of the data, so that a page can be bounded without reading the rows that it leaves out.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { blockBits } from "../deviceBlocks.ts"
import { appendFunction } from "./appendFunction.ts"
import { eraseFunctions } from "./eraseFunction.ts"
import { listenFunction } from "./listenFunction.ts"
import { mergeFunction } from "./mergeFunction.ts"
import { partitionFunctions } from "./partitionFunctions.ts"
import { plainAppendFunction } from "./plainAppendFunction.ts"

/**
 * Events of one partition: at 1 KB each some 10 GB, which a server can drop, vacuum or copy at once. A year at ten
 * events per second has thirty partitions.
 */
const eventsSpan = 10_000_000

/**
 * Events of a new generation of identities. Keys are hashes, so the index of the generation that is written to has
 * random writes, and each of its pages goes to the WAL in full once per checkpoint: it must be small.
 */
const identitiesSpan = 500_000

/**
 * Generations of one size that are merged into the next one. Each event probes every generation, so there must be few;
 * each merge writes every identity once more.
 */
const identitiesFanin = 8

/** The largest generation. It is dropped as a whole; if it is too large, long after most of its events are gone. */
const identitiesMax = identitiesSpan * identitiesFanin ** 2

const statements = [
  `create table log_identity (
    one boolean primary key default true check (one),
    log_id uuid not null default gen_random_uuid(),
    oldest bigint not null default 1,
    events_end bigint not null default 1,
    events_span bigint not null,
    identities_end bigint not null default 1,
    identities_span bigint not null,
    identities_fanin integer not null,
    identities_max bigint not null,
    retained_at timestamptz
  )`,
  `insert into log_identity (events_span, identities_span, identities_fanin, identities_max)
    values (${eventsSpan}, ${identitiesSpan}, ${identitiesFanin}, ${identitiesMax})`,
  `create table log_partitions (
    relation text collate "C" primary key,
    parent text collate "C" not null,
    first bigint not null,
    past bigint not null
  )`,
  // In an index by chats every chat has its own end, and an append writes to as many pages as it has chats: full
  // pages in the WAL after each checkpoint, and half-full ones after each split. With blocks of numbers as the first column, an
  // append writes only to the pages of the newest block, and a reader of a chat visits one block after the other.
  `create function columba_block(seq bigint) returns bigint language sql immutable parallel safe as $$
    select seq >> ${blockBits}
  $$`,
  `create table events (
    seq bigint primary key,
    id uuid not null,
    kind text not null,
    device_id text collate "C" not null,
    occurred_at text not null,
    recorded_at timestamptz not null,
    via text not null,
    message uuid,
    content uuid,
    chat text collate "C",
    bytes integer not null,
    data json not null
  ) partition by range (seq)`,
  `create index events_device on events (device_id, seq)`,
  `create index events_state on events (device_id, seq) where kind = 'device.state'`,
  `create index events_chat on events (columba_block(seq), device_id, chat, seq) where message is not null`,
  `create table identities (key uuid not null, seq bigint not null) partition by range (seq)`,
  `create index identities_key on identities (key)`,
  // The running merge: its table has the identities of \`sources\` up to the key \`through\`, or all of them.
  `create table identity_merge (
    one boolean primary key default true check (one),
    relation text collate "C" not null,
    sources text[] not null,
    first bigint not null,
    past bigint not null,
    through uuid,
    complete boolean not null default false
  )`,
  // Rows change in place (no changed column is indexed), so a page keeps room for the next version of its rows.
  `create table message_status (
    message uuid primary key,
    status text collate "C" not null,
    seq bigint not null,
    updated_at timestamptz not null
  ) with (fillfactor = 80)`,
  `create index message_status_seq on message_status (seq)`,
  `create table jid_aliases (
    device_id text collate "C" not null,
    spelling text collate "C" not null,
    other text collate "C" not null,
    erased_at timestamptz,
    primary key (device_id, spelling)
  )`,
  `create index jid_aliases_erased on jid_aliases (erased_at) where erased_at is not null`,
  // Events wait for a sink that has not confirmed them: without limit, or at most `keep` after they were recorded.
  `create table sink_cursors (
    sink text collate "C" primary key,
    epoch integer not null,
    seq bigint not null,
    keep interval
  ) with (fillfactor = 10)`,
  // Processes that want a signal of each commit, and until when; a few rows, each written every few seconds.
  `create table log_listeners (listener uuid primary key, until timestamptz not null) with (fillfactor = 10)`,
  `create table devices (
    id text collate "C" primary key,
    ordinal bigint generated always as identity unique,
    name text not null,
    gateway text not null,
    upstream_id text not null,
    active boolean not null default true,
    owner text collate "C",
    epoch integer not null default 0,
    alive_until timestamptz,
    reconnect_requests integer not null default 0,
    release_requests integer not null default 0,
    jid text,
    phone text,
    state json not null default '{"_tag":"Inactive"}',
    state_tag text not null default 'Inactive',
    created_at timestamptz not null default clock_timestamp(),
    updated_at timestamptz not null default clock_timestamp(),
    constraint devices_upstream unique (gateway, upstream_id)
  )`,
  // For webhooks that name the account alone.
  `create index devices_account on devices (gateway, jid)`,
  // `failed` ranks below everything: a rank comparison never reaches it, and the step from `pending` to it has its own rule.
  `create function columba_rank(status text) returns integer language sql immutable as $$
    select case status when 'pending' then 0 when 'sent' then 1 when 'delivered' then 2 when 'read' then 3
      when 'played' then 4 else -1 end
  $$`,
  `create function columba_status(rank integer) returns text language sql immutable as $$
    select case rank when 0 then 'pending' when 1 then 'sent' when 2 then 'delivered' when 3 then 'read'
      when 4 then 'played' end
  $$`,
  // Must produce the bytes of `deriveKey` in src/log/EventKey.ts.
  `create function columba_key(base text, chat text, sender text) returns uuid language sql immutable as $$
    select substr(encode(sha256(convert_to(base || chr(31) || chat || chr(31) || sender, 'UTF8')), 'hex'), 1, 32)::uuid
  $$`,
  ...partitionFunctions,
  mergeFunction,
  `select columba_extend(0)`,
  listenFunction,
  appendFunction,
  plainAppendFunction,
  ...eraseFunctions
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
