/**
 * The tables of the log and what it keeps in step: message rows, acks, spellings of accounts, cursors, devices.
 *
 * `events.data` is `json`, not `jsonb`: NUL and lone-surrogate escapes must survive, and the text comes back as it was
 * committed. Identities live apart from the events, so that retention of events lets nothing old come back as new.
 * Ids compare as bytes (collation C), which costs a fraction of what a language's rules cost in every index.
 * `events.bytes` is the length of the data, so that a page can be bounded without reading what it leaves out.
 * Nothing references `events`: its rows go by number range, without a check per row.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table events (
    seq bigint primary key,
    id uuid not null unique,
    kind text not null,
    device_id text collate "C" not null,
    occurred_at text not null,
    recorded_at timestamptz not null,
    via text not null,
    data json not null,
    bytes integer not null
  )`,
  `create index events_device on events (device_id, seq)`,
  `create index events_state on events (device_id, seq) where kind = 'device.state'`,
  `create table event_keys (key uuid primary key, content uuid)`,
  `create table messages (
    id text collate "C" primary key,
    seq bigint not null unique,
    device_id text collate "C" not null,
    direction text not null,
    wa_id text not null,
    chat text not null,
    sender text not null,
    type text not null,
    body text,
    status text not null,
    occurred_at text not null,
    created_at timestamptz not null,
    updated_at timestamptz not null
  )`,
  `create index messages_device on messages (device_id, seq)`,
  `create index messages_chat on messages (device_id, chat, seq)`,
  `create table message_acks (
    message_id text collate "C" not null,
    participant text collate "C" not null,
    status text collate "C" not null,
    seq bigint not null,
    primary key (message_id, participant, status)
  )`,
  `create table jid_aliases (
    device_id text collate "C" not null,
    spelling text collate "C" not null,
    other text collate "C" not null,
    primary key (device_id, spelling)
  )`,
  `create table sink_cursors (
    sink text collate "C" primary key,
    epoch integer not null,
    seq bigint not null
  )`,
  `create table log_head (
    one boolean primary key default true check (one),
    head bigint not null,
    oldest bigint not null,
    recorded_at timestamptz not null,
    log_id uuid not null default gen_random_uuid()
  )`,
  `insert into log_head (head, oldest, recorded_at) values (0, 1, to_timestamp(0))`,
  `create table devices (
    id text collate "C" primary key,
    ordinal bigint generated always as identity unique,
    name text not null,
    gateway text not null,
    upstream_id text not null,
    active boolean not null default true,
    owner text collate "C",
    epoch integer not null default 0,
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
  // `failed` ranks below everything: a rank comparison never reaches it, and leaving `pending` for it is said apart.
  `create function columba_rank(status text) returns integer language sql immutable as $$
    select case status when 'pending' then 0 when 'sent' then 1 when 'delivered' then 2 when 'read' then 3
      when 'played' then 4 else -1 end
  $$`,
  `create function columba_status(rank integer) returns text language sql immutable as $$
    select case rank when 0 then 'pending' when 1 then 'sent' when 2 then 'delivered' when 3 then 'read'
      when 4 then 'played' end
  $$`,
  // Must give the bytes of `deriveKey` in src/log/EventKey.ts.
  `create function columba_key(base text, chat text, sender text) returns uuid language sql immutable as $$
    select substr(encode(sha256(convert_to(base || chr(31) || chat || chr(31) || sender, 'UTF8')), 'hex'), 1, 32)::uuid
  $$`,
  // Ordered against appends by their lock: an append under an older epoch has been committed, or will be refused.
  `create function columba_claim(p_owner text, p_devices text[]) returns table (id text, epoch integer)
  language plpgsql volatile as $$
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    return query update devices d set owner = p_owner, epoch = d.epoch + 1
      where d.id = any (p_devices) returning d.id, d.epoch;
  end
  $$`,
  columbaAppend()
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})

/**
 * One batch in one round trip. Arrays of one prefix run in parallel; `*_index` (from 1) names the draft that a message,
 * ack or state belongs to, and it counts only if that draft is new.
 *
 * Outcomes: 0 new, 1 the same event id was committed before, 2 duplicate, 3 the key is known with other content, 4 the
 * draft's fence is stale. A draft of another outcome than 0 changes nothing.
 *
 * The advisory lock is taken before the head is read and held until commit, so numbers are given in commit order over
 * all processes: whoever sees `n` sees everything below it. Every statement of a volatile function takes a fresh
 * snapshot, so what the lock's last holder committed is seen.
 *
 * A cursor moves only to a number that the log had before this batch, and with an id only to that very event: after the
 * log went back, a number from before names nothing yet, or another event, and a cursor there would skip what follows.
 *
 * The planner settings pin index lookups from the batch's side: plans are cached over the life of a connection, and
 * one made while the tables were empty would read them whole when they are not. The JIT is off because the pinned
 * plans look dear enough to be compiled at every call, which takes longer than running them (measured: 46 ms a batch).
 */
function columbaAppend(): string {
  return `create function columba_append(
    p_id text[], p_kind text[], p_device text[], p_occurred text[], p_via text[], p_data text[],
    p_key text[], p_content text[], p_base text[], p_chat text[], p_sender text[],
    p_fence text[], p_epoch integer[],
    m_index integer[], m_id text[], m_device text[], m_direction text[], m_wa_id text[], m_chat text[],
    m_sender text[], m_type text[], m_body text[], m_occurred text[],
    k_index integer[], k_message text[], k_participant text[], k_status text[],
    s_index integer[], s_device text[], s_state text[], s_tag text[], s_jid text[], s_phone text[],
    a_device text[], a_lid text[], a_jid text[],
    c_sink text[], c_epoch integer[], c_seq float8[], c_id text[]
  ) returns table (head float8, recorded_ms float8, outcomes integer[], seqs float8[], lost text[])
  language plpgsql volatile
  set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off
  as $columba$
  declare
    v_head bigint; v_now timestamptz; v_new integer := 0;
    v_outcome integer[]; v_seq bigint[]; v_key uuid[]; v_lost text[];
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    select h.head, greatest(h.recorded_at, date_trunc('milliseconds', clock_timestamp()))
      into v_head, v_now from log_head h;

    if cardinality(a_lid) > 0 then
      insert into jid_aliases (device_id, spelling, other)
      select distinct on (x.device, x.spelling) x.device, x.spelling, x.other
      from (
        select u.device, u.lid as spelling, u.jid as other, u.i
        from unnest(a_device, a_lid, a_jid) with ordinality u(device, lid, jid, i)
        union all
        select u.device, u.jid, u.lid, u.i
        from unnest(a_device, a_lid, a_jid) with ordinality u(device, lid, jid, i)
      ) x
      order by x.device, x.spelling, x.i desc
      on conflict (device_id, spelling) do update set other = excluded.other
        where jid_aliases.other <> excluded.other;
    end if;

    if cardinality(p_id) > 0 then
      with draft as (
        select u.i, u.id::uuid as id, u.key::uuid as key, u.content::uuid as content, u.base, u.chat, u.sender,
          c.other as chat_other, s.other as sender_other,
          u.fence is not null and not exists (
            select 1 from devices f where f.id = u.fence and f.epoch = u.epoch
          ) as stale
        from unnest(p_id, p_key, p_content, p_base, p_device, p_chat, p_sender, p_fence, p_epoch)
          with ordinality u(id, key, content, base, device, chat, sender, fence, epoch, i)
        left join jid_aliases c on c.device_id = u.device and c.spelling = u.chat
        left join jid_aliases s on s.device_id = u.device and s.spelling = u.sender
      ), keyed as (
        select d.i, d.id, d.content, d.stale,
          case when d.chat_other is null and d.sender_other is null then d.key
            else columba_key(d.base,
              case when d.chat like '%@lid' then coalesce(d.chat_other, d.chat) else d.chat end,
              case when d.sender like '%@lid' then coalesce(d.sender_other, d.sender) else d.sender end)
          end as key,
          case when d.chat_other is null and d.sender_other is null then array[d.key]
            else array[
              d.key,
              columba_key(d.base, coalesce(d.chat_other, d.chat), d.sender),
              columba_key(d.base, d.chat, coalesce(d.sender_other, d.sender)),
              columba_key(d.base, coalesce(d.chat_other, d.chat), coalesce(d.sender_other, d.sender))]
          end as spellings
        from draft d
      ), seen as (
        select k.i, k.key, k.content, k.stale, e.seq as same_seq, known.key as known_key, known.content as known_content,
          first_value(k.i) over same_key as first_i, first_value(k.content) over same_key as first_content
        from keyed k
        left join events e on e.id = k.id
        left join lateral (
          select ek.key, ek.content from event_keys ek where ek.key = any (k.spellings) limit 1
        ) known on true
        window same_key as (partition by k.key order by k.i)
      ), judged as (
        select s.i, s.key, s.same_seq,
          case
            when s.same_seq is not null then 1
            when s.stale then 4
            when s.key is null then 0
            when s.known_key is not null then case when s.content <> s.known_content then 3 else 2 end
            when s.first_i < s.i then case when s.content <> s.first_content then 3 else 2 end
            else 0
          end as outcome
        from seen s
      ), numbered as (
        select j.i, j.key, j.outcome,
          case j.outcome
            when 0 then v_head + count(*) filter (where j.outcome = 0) over (order by j.i)
            when 1 then j.same_seq
            else 0
          end as seq
        from judged j
      )
      select array_agg(n.outcome), array_agg(n.seq), array_agg(n.key), count(*) filter (where n.outcome = 0)
      into v_outcome, v_seq, v_key, v_new from (select * from numbered order by i) n;
    end if;

    if v_new > 0 then
      insert into events (seq, id, kind, device_id, occurred_at, recorded_at, via, data, bytes)
      select u.seq, u.id::uuid, u.kind, u.device, u.occurred, v_now, u.via, u.data::json, octet_length(u.data)
      from unnest(v_outcome, v_seq, p_id, p_kind, p_device, p_occurred, p_via, p_data)
        u(outcome, seq, id, kind, device, occurred, via, data)
      where u.outcome = 0;

      insert into event_keys (key, content)
      select u.key, u.content::uuid from unnest(v_outcome, v_key, p_content) u(outcome, key, content)
      where u.outcome = 0 and u.key is not null;
      if v_key <> p_key::uuid[] then
        insert into event_keys (key, content)
        select u.own::uuid, u.content::uuid
        from unnest(v_outcome, v_key, p_key, p_content) u(outcome, key, own, content)
        where u.outcome = 0 and u.key <> u.own::uuid
        on conflict (key) do nothing;
      end if;

      if cardinality(m_id) > 0 then
        insert into messages
          (id, seq, device_id, direction, wa_id, chat, sender, type, body, status, occurred_at, created_at, updated_at)
        select m.id, v_seq[m.i], m.device, m.direction, m.wa_id, m.chat, m.sender, m.type, m.body,
          case m.direction when 'in' then 'delivered' else columba_status(greatest(1, (
            select max(columba_rank(a.status)) from message_acks a where a.message_id = m.id
          ))) end,
          m.occurred, v_now, v_now
        from unnest(m_index, m_id, m_device, m_direction, m_wa_id, m_chat, m_sender, m_type, m_body, m_occurred)
          m(i, id, device, direction, wa_id, chat, sender, type, body, occurred)
        where v_outcome[m.i] = 0
        on conflict (id) do nothing;
      end if;

      if cardinality(k_message) > 0 then
        insert into message_acks (message_id, participant, status, seq)
        select k.message, k.participant, k.status, v_seq[k.i]
        from unnest(k_index, k_message, k_participant, k_status) k(i, message, participant, status)
        where v_outcome[k.i] = 0
        on conflict (message_id, participant, status) do nothing;

        update messages m
        set status = case when m.status = 'pending' and a.first = 'failed' then 'failed'
            else columba_status(a.rank) end,
          updated_at = v_now
        from (
          select k.message, max(columba_rank(k.status)) as rank,
            (array_agg(k.status order by k.i) filter (where k.status <> 'pending'))[1] as first
          from unnest(k_index, k_message, k_status) k(i, message, status)
          where v_outcome[k.i] = 0
          group by k.message
        ) a
        where m.id = a.message and m.status <> 'failed'
          and (columba_rank(m.status) < a.rank or (m.status = 'pending' and a.first = 'failed'));
      end if;

      if cardinality(s_device) > 0 then
        update devices d
        set state = u.state::json, state_tag = u.tag,
          jid = case u.tag when 'LoggedOut' then null else coalesce(u.jid, d.jid) end,
          phone = case u.tag when 'LoggedOut' then null else coalesce(u.phone, d.phone) end,
          updated_at = v_now
        from (
          select s.device,
            (array_agg(s.state order by s.i desc))[1] as state,
            (array_agg(s.tag order by s.i desc))[1] as tag,
            (array_agg(s.jid order by s.i desc) filter (where s.jid is not null))[1] as jid,
            (array_agg(s.phone order by s.i desc) filter (where s.phone is not null))[1] as phone
          from unnest(s_index, s_device, s_state, s_tag, s_jid, s_phone) s(i, device, state, tag, jid, phone)
          where v_outcome[s.i] = 0
          group by s.device
        ) u
        where d.id = u.device;
      end if;

      update log_head set head = v_head + v_new, recorded_at = v_now;
      perform pg_notify('columba_log', (v_head + v_new)::text);
    end if;

    if cardinality(c_sink) > 0 then
      with move as (
        select c.sink, c.epoch, c.seq::bigint as seq, c.seq <= v_head and not exists (
            select 1 from events e where e.seq = c.seq::bigint and e.id <> c.id::uuid
          ) as known
        from unnest(c_sink, c_epoch, c_seq, c_id) c(sink, epoch, seq, id)
      ), moved as (
        update sink_cursors s set seq = greatest(s.seq, m.seq)
        from move m where s.sink = m.sink and s.epoch = m.epoch and m.known
        returning s.sink, s.epoch
      )
      select array_agg(m.sink || ' ' || m.epoch) into v_lost from move m
      where not exists (select 1 from moved d where d.sink = m.sink and d.epoch = m.epoch);
    end if;

    return query select (v_head + v_new)::float8, (extract(epoch from v_now) * 1000)::float8,
      coalesce(v_outcome, '{}'), coalesce(v_seq, '{}')::float8[], coalesce(v_lost, '{}');
  end
  $columba$`
}
