/**
 * The append: one batch in one round trip and one transaction. Its name carries a version, so that two versions of the
 * program can run on one database during an upgrade.
 *
 * A batch is a list of groups; each is committed as a whole or refused as a whole. A batch in which each group is one
 * draft, without a fence and without effects of the group, has no groups (`g_*` and `p_group` are empty). Arrays of one
 * prefix run in parallel.
 * `*_group` and `*_index` (from 1) name the group, and the draft in the batch, that a row belongs to; a row without a
 * draft belongs to the group alone. It counts if its draft is new, or its group was neither refused nor committed before.
 *
 * Outcomes: 0 new, 1 the same event id was committed before, 2 duplicate, 3 the key is known with other content, 4 the
 * group's fence is stale. A draft of another outcome than 0 changes nothing.
 *
 * The advisory lock is taken before the head is read and held until commit, so numbers are assigned in commit order over
 * all processes: a reader that sees `n` sees everything below it. Every statement of a volatile function takes a fresh
 * snapshot, so it sees the commit of the lock's last holder.
 *
 * `p_floor` is the head that the writer had when it first sent these drafts. An earlier attempt can only have been
 * committed above that number, so their ids are looked up only there, and not at all while the head equals the floor. A
 * head below the floor means that the log was reset. Then nothing is written, and the writer gets the head: it cannot have
 * committed anything of the batch in this log. The floor also lets the planner skip the partitions below it.
 *
 * `named` lists acks whose message id was replaced in the data by one of `names`, as numbers of drafts.
 *
 * `p_rare` holds the rare effects as JSON, or is null. `refused` names the groups whose fence is stale: a group of effects
 * alone has no outcome.
 *
 * A cursor moves only to a number that the log had before this batch, and with an id only to that very event: after a
 * reset of the log, an older number refers to nothing yet, or to another event, and a cursor there would skip events.
 *
 * The planner settings pin index lookups from the batch's side: plans are cached over the life of a connection, and
 * one made while the tables were empty would read them whole when they are not. The JIT is off because the pinned plans
 * look expensive enough to be compiled at every call, which takes longer than running them (measured: 46 ms per batch). For the
 * same reason there are no parallel workers: over tables that were never analyzed, each append started two (1.3 ms).
 */
import { maybeKnown } from "./filterFunctions.ts"
import { effectColumns, frequentTags } from "../../../services/LogEffect.ts"
import { effectPrefix, effectStatements } from "../effectStatements.ts"

type ArrayType = "text[]" | "integer[]" | "float8[]"

const names = (type: ArrayType, text: string): ReadonlyArray<readonly [string, ArrayType]> =>
  text.split(" ").map((name) => [name, type] as const)

/** The columns of the drafts. */
export const draftArrays = [
  ...names("text[]", "p_id p_kind p_device p_occurred p_via p_data p_key p_content p_base p_from p_sender"),
  ...names("text[]", "p_message p_chat")
]

/** The columns of the cursor moves. */
export const moveArrays = [
  ...names("text[]", "c_sink"),
  ...names("integer[]", "c_epoch"),
  ...names("float8[]", "c_seq"),
  ...names("text[]", "c_id")
]

/** Every array parameter in order; the scalars `p_floor` and `p_rare` come before them. */
export const appendArrays: ReadonlyArray<readonly [string, ArrayType]> = [
  ...names("text[]", "g_device"),
  ...names("integer[]", "g_epoch p_group"),
  ...draftArrays,
  ...frequentTags.flatMap((tag) => [
    ...names("integer[]", `${effectPrefix[tag]}_group ${effectPrefix[tag]}_index`),
    ...names("text[]", Object.keys(effectColumns[tag]).map((column) => `${effectPrefix[tag]}_${column}`).join(" "))
  ]),
  ...names("text[]", "a_device a_lid a_jid"),
  ...moveArrays
]

/** Whether another process wants a signal of commits (see `columba_listen_v1`), and the signal. */
export const signalOthers = {
  condition: `exists (
        select 1 from log_listeners s where s.until > clock_timestamp() and s.listener is distinct from p_listener::uuid
      )`,
  statement: "perform pg_notify('columba_log', (v_head + v_new)::text);"
}

/** Moves the cursors of the batch, and lists those that were not moved in `v_lost`. */
export const movedCursors = `    if cardinality(c_sink) > 0 then
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
    end if;`

/** The settings of both functions that append; see above. */
export const settings = `set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off
  set plan_cache_mode = force_generic_plan set jit = off set max_parallel_workers_per_gather = 0`

export const appendFunction = `create or replace function columba_append_v1(
    p_floor float8, p_rare text, p_listener text, ${appendArrays.map(([name, type]) => `${name} ${type}`).join(", ")}
  ) returns table (
    log_id text, oldest float8, head float8, behind boolean, recorded_ms float8,
    outcomes integer[], seqs float8[], lost text[], refused integer[], named integer[], names text[]
  )
  language plpgsql volatile
  ${settings}
  as $columba$
  declare
    v_log log_identity;
    v_floor bigint := p_floor;
    v_head bigint; v_last timestamptz; v_now timestamptz; v_new integer := 0; v_step bigint;
    v_same_id uuid[] := '{}'; v_same_seq bigint[] := '{}';
    v_refused boolean[]; v_open boolean[];
    v_outcome integer[]; v_seq bigint[]; v_known bigint[]; v_key uuid[]; v_lost text[];
    v_named integer[] := '{}'; v_names text[] := '{}';
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    select * into v_log from log_identity;
    select e.seq, e.recorded_at into v_head, v_last from events e where e.seq >= v_floor order by e.seq desc limit 1;
    if v_head is null then
      select e.seq, e.recorded_at into v_head, v_last from events e order by e.seq desc limit 1;
      v_head := coalesce(v_head, 0);
      if v_head < v_floor then
        return query select v_log.log_id::text, v_log.oldest::float8, v_head::float8, true, 0::float8,
          '{}'::integer[], '{}'::float8[], '{}'::text[], '{}'::integer[], '{}'::integer[], '{}'::text[];
        return;
      end if;
    end if;
    v_now := greatest(v_last, date_trunc('milliseconds', clock_timestamp()));

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
      on conflict (device_id, spelling) do update set other = excluded.other, erased_at = null
        where jid_aliases.other <> excluded.other or jid_aliases.erased_at is not null;
    end if;

    -- Both arrays have one entry per group: whether it is refused, and whether its own effects are still to be applied.
    if v_head > v_floor and cardinality(p_id) > 0 then
      -- The batch is hashed, and the events above the floor are read once.
      perform set_config('enable_hashjoin', 'on', true);
      select coalesce(array_agg(e.id), '{}'), coalesce(array_agg(e.seq), '{}') into v_same_id, v_same_seq
      from events e join unnest(p_id) u(id) on u.id::uuid = e.id
      where e.seq > v_floor and e.seq <= v_head;
      perform set_config('enable_hashjoin', 'off', true);
    end if;
    if cardinality(g_device) > 0 then
      select array_agg(x.stale and not x.repeated order by x.g), array_agg(not x.stale and not x.repeated order by x.g)
      into v_refused, v_open
      from (
        select g.i as g,
          g.device is not null and not exists (
            select 1 from devices d where d.id = g.device and d.epoch = g.epoch
          ) as stale,
          cardinality(v_same_id) > 0 and exists (
            select 1 from unnest(p_group, p_id) p(g, id) where p.g = g.i and p.id::uuid = any (v_same_id)
          ) as repeated
        from unnest(g_device, g_epoch) with ordinality g(device, epoch, i)
      ) x;
    end if;

    if cardinality(p_id) > 0 then
      with draft as (
        select u.i, u.content::uuid as content, u.base, u.chat, u.sender, v_refused[u.g] as refused,
          case when v_refused[u.g] then null else u.key::uuid end as key,
          same.seq as same_seq, c.other as chat_other, s.other as sender_other
        from unnest(p_id, p_group, p_key, p_content, p_base, p_device, p_from, p_sender)
          with ordinality u(id, g, key, content, base, device, chat, sender, i)
        left join unnest(v_same_id, v_same_seq) same(id, seq) on same.id = u.id::uuid
        left join jid_aliases c on c.device_id = u.device and c.spelling = u.chat
        left join jid_aliases s on s.device_id = u.device and s.spelling = u.sender
      ), keyed as (
        select d.i, d.content, d.refused, d.same_seq,
          case when d.chat_other is null and d.sender_other is null or d.key is null then d.key
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
      ), identity as materialized (
        -- One scan of each generation for the whole batch: a scan per draft would cost several times as much. In generations that
        -- have filters, only the keys that may be there are looked up.
        select n.key, n.seq from identities n
        where n.key = any (array(select unnest(k.spellings) from keyed k where k.key is not null))
          and n.seq >= v_log.identities_filtered and n.seq <= v_head
        union all
        select n.key, n.seq from identities n
        where n.key = any (${maybeKnown("array(select unnest(k.spellings) from keyed k where k.key is not null)")})
          and n.seq < v_log.identities_filtered
      ), seen as (
        select k.i, k.key, k.content, k.refused, k.same_seq, known.seq as known_seq,
          first_value(k.i) over same_key as first_i, first_value(k.content) over same_key as first_content
        from keyed k
        left join lateral (
          select n.seq from identity n where n.key = any (k.spellings) limit 1
        ) known on true
        window same_key as (partition by k.key order by k.i)
      ), judged as (
        select s.i, s.key, s.same_seq, s.known_seq,
          case
            when s.same_seq is not null then 1
            when s.refused then 4
            when s.key is null then 0
            when s.known_seq is not null then 2
            when s.first_i < s.i then case when s.content <> s.first_content then 3 else 2 end
            else 0
          end as outcome
        from seen s
      ), numbered as (
        select j.i, j.key, j.outcome, j.known_seq,
          case j.outcome
            when 0 then v_head + count(*) filter (where j.outcome = 0) over (order by j.i)
            when 1 then j.same_seq
            else 0
          end as seq
        from judged j
      )
      select array_agg(n.outcome), array_agg(n.seq), array_agg(n.known_seq), array_agg(n.key),
        count(*) filter (where n.outcome = 0)
      into v_outcome, v_seq, v_known, v_key, v_new from (select * from numbered order by i) n;
      -- Only events before this batch have a number here. A digest that is gone, with its event or by an erasure, proves nothing.
      if exists (select 1 from unnest(v_outcome, v_known) u(outcome, known) where u.outcome = 2 and u.known is not null) then
        select array_agg(case when u.outcome = 2 and u.content::uuid <> e.content then 3 else u.outcome end order by u.i)
        into v_outcome
        from unnest(v_outcome, v_known, p_content) with ordinality u(outcome, known, content, i)
        left join events e on e.seq = u.known and e.seq = any (v_known);
      end if;
    end if;

    if v_new > 0 then
      if v_head + v_new >= least(v_log.events_end, v_log.identities_end) then
        perform columba_extend(v_head + v_new);
      else
        -- Ahead of need, and retried a little later where another session holds a lock that attaching conflicts with.
        v_step := greatest(1, v_log.identities_span / 16);
        if (v_head + v_new) / v_step <> v_head / v_step then
          begin
            perform set_config('lock_timeout', '100ms', true);
            perform columba_extend(v_head + v_new);
          exception when lock_not_available then null;
          end;
          perform set_config('lock_timeout', '8s', true);
        end if;
      end if;

      -- Acks come with the id derived from the WhatsApp id; those of messages that we have sent get our own id.
      if cardinality(k_message) > 0 then
        select coalesce(array_agg(x.i), '{}'), coalesce(array_agg(x.id), '{}') into v_named, v_names
        from (
          select k.i, min(s.id) as id from unnest(k_index, k_message) k(i, message)
          join sends s on s.message = k.message::uuid
          where k.i is not null and left(p_data[k.i], 18) = '{"messageId":"msg_'
          group by k.i
        ) x;
        for v_i in 1 .. cardinality(v_named) loop
          p_data[v_named[v_i]] := overlay(p_data[v_named[v_i]] placing v_names[v_i] from 15 for 30);
        end loop;
      end if;

      insert into events
        (seq, id, kind, device_id, occurred_at, recorded_at, via, message, content, chat, bytes, data)
      select u.seq, u.id::uuid, u.kind, u.device, u.occurred, v_now, u.via, u.message::uuid, u.content::uuid, u.chat,
        octet_length(u.data), u.data::json
      from unnest(v_outcome, v_seq, p_id, p_kind, p_device, p_occurred, p_via, p_message, p_content, p_chat, p_data)
        u(outcome, seq, id, kind, device, occurred, via, message, content, chat, data)
      where u.outcome = 0;

      insert into identities (key, seq)
      select u.key, u.seq from unnest(v_outcome, v_seq, v_key) u(outcome, seq, key)
      where u.outcome = 0 and u.key is not null;
      -- Also under its own spelling: that is the message's id, and a repeat will have it before it is resolved.
      if v_key <> p_key::uuid[] then
        insert into identities (key, seq)
        select u.own::uuid, u.seq from unnest(v_outcome, v_seq, v_key, p_key) u(outcome, seq, key, own)
        where u.outcome = 0 and u.key <> u.own::uuid;
      end if;
    end if;

${frequentTags.map((tag) => effectStatements[tag]).join("\n")}

    if p_rare is not null then
      perform columba_rare_effects_v1(p_rare::json, v_open, v_outcome, v_now);
    end if;

    if v_new > 0 and ${signalOthers.condition} then
      ${signalOthers.statement}
    end if;

${movedCursors}

    return query select v_log.log_id::text, v_log.oldest::float8, (v_head + v_new)::float8, false,
      (extract(epoch from v_now) * 1000)::float8,
      coalesce(v_outcome, '{}'), coalesce(v_seq, '{}')::float8[], coalesce(v_lost, '{}'),
      case when true = any (v_refused)
        then array(select r.i::integer from unnest(v_refused) with ordinality r(refused, i) where r.refused)
        else '{}' end,
      v_named, v_names;
  end
$columba$`
