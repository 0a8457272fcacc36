/**
 * Partitions of the log: created ahead of the head, dropped as a whole once all of one is below the retention limit.
 *
 * A partition is created as a separate table and then attached, and a waiting drop ends early: both so that nothing
 * ever waits long for a reader of the whole table (such as `pg_dump`), with appends and reads queued behind it.
 */
import { readBlocks } from "../deviceBlocks.ts"

/** The same lock as the appends': partitions change between two appends, never under one. */
const takeLock = "perform pg_advisory_xact_lock(4341001, 1)"

/** How long a drop waits for readers of the whole table: appends wait for this time too, every ten minutes at most. */
const dropWait = "200ms"

/**
 * Creates partitions until one whole span beyond `p_head` is covered. Attaching needs a lock that readers, writers and
 * `pg_dump` do not conflict with.
 */
const extend = `create function columba_extend(p_head bigint) returns void language plpgsql volatile as $columba$
  declare
    v_log log_identity;
    v_end bigint;
  begin
    select * into v_log from log_identity;
    v_end := v_log.events_end;
    while v_end <= p_head + v_log.events_span loop
      perform columba_attach('events', v_end, v_end + v_log.events_span);
      v_end := v_end + v_log.events_span;
    end loop;
    v_log.events_end := v_end;
    v_end := v_log.identities_end;
    while v_end <= p_head + v_log.identities_span loop
      perform columba_attach('identities', v_end, v_end + v_log.identities_span);
      v_end := v_end + v_log.identities_span;
    end loop;
    if v_end <> v_log.identities_end or v_log.events_end <> (select l.events_end from log_identity l) then
      update log_identity set events_end = v_log.events_end, identities_end = v_end;
    end if;
  end
$columba$`

const attach = `create function columba_attach(p_parent text, p_first bigint, p_past bigint) returns void
  language plpgsql volatile as $columba$
  declare
    v_name text := p_parent || '_' || p_first;
  begin
    execute format('create table %I (like %I including all)', v_name, p_parent);
    execute format('alter table %I attach partition %I for values from (%s) to (%s)',
      p_parent, v_name, p_first, p_past);
    insert into log_partitions (relation, parent, first, past) values (v_name, p_parent, p_first, p_past);
  end
$columba$`

/** Drops a partition, or returns false where another session reads the whole table for long. */
const drop = `create function columba_drop(p_relation text) returns boolean language plpgsql volatile as $columba$
  declare
    v_wait text := current_setting('lock_timeout');
  begin
    perform set_config('lock_timeout', '${dropWait}', true);
    execute format('drop table %I', p_relation);
    delete from log_partitions where relation = p_relation;
    perform set_config('lock_timeout', v_wait, true);
    return true;
  exception when lock_not_available then
    return false;
  end
$columba$`

/**
 * One step of retention: a whole partition, or some rows of the oldest one. \`more\` states that another step would find
 * something too. Never past a sink's cursor, and never the newest event, from which the log's head is read. Past the cursor
 * of a sink with a limit (`keep`), only events older than the longest of these limits are deleted. The same holds for the
 * events that a subscription holds behind its cursor (`health.held`).
 *
 * Time is the database's own, and a step is refused when more time than \`p_step_max\` has passed since the last complete
 * round: a clock that jumps ahead must not delete the log.
 *
 * Identities are dropped only as whole generations, so an identity is never dropped before its event.
 */
export const deleteFunction =
  `create or replace function columba_delete_v1(p_keep interval, p_step_max interval, p_rows integer)
  returns table (refused boolean, elapsed_ms float8, removed float8, more boolean)
  language plpgsql volatile as $columba$
  declare
    v_now timestamptz := clock_timestamp();
    v_log log_identity;
    v_head bigint; v_bound bigint; v_last bigint; v_count bigint := 0; v_more boolean := false; v_busy boolean := false;
    v_recorded timestamptz; v_limit timestamptz := v_now - p_keep;
    v_relation text; v_past bigint;
    v_waited bigint; v_waited_limit timestamptz;
  begin
    select * into v_log from log_identity;
    if v_now - v_log.retained_at > p_step_max then
      return query select true, (extract(epoch from v_now - v_log.retained_at) * 1000)::float8, 0::float8, false;
      return;
    end if;

    select e.seq into v_head from events e order by e.seq desc limit 1;
    v_bound := least(v_head - 1, (select min(c.seq) from sink_cursors c where c.keep is null));
    select coalesce(min(least(c.seq, h.seq)), v_head), v_now - greatest(p_keep, coalesce(max(c.keep), p_keep))
      into v_waited, v_waited_limit
      from sink_cursors c left join subscriptions s on c.sink = 'webhook:' || s.id
      left join lateral (
        select min((o->>'seq')::bigint) - 1 as seq from json_array_elements(s.health->'held') o
      ) h on true
      where c.keep is not null;
    if v_bound is not null then
      select p.relation, p.past into v_relation, v_past from log_partitions p
      where p.parent = 'events' and p.past - 1 <= v_bound order by p.first limit 1;
      if found then
        select e.recorded_at into v_recorded from events e
        where e.seq >= v_log.oldest and e.seq < v_past order by e.seq desc limit 1;
        if v_recorded is null or v_recorded <= (case when v_past - 1 > v_waited then v_waited_limit else v_limit end) then
          ${takeLock};
          if columba_drop(v_relation) then
            v_count := greatest(0, v_past - v_log.oldest);
            v_log.oldest := greatest(v_log.oldest, v_past);
            v_more := true;
          else
            v_busy := true;
          end if;
        end if;
      end if;
      if not v_more and not v_busy then
        with gone as (
          delete from events e
          where e.seq >= v_log.oldest and e.seq < v_log.oldest + p_rows and e.seq <= v_bound
            and e.recorded_at <= (case when e.seq > v_waited then v_waited_limit else v_limit end)
          returning e.seq
        )
        select count(*), max(g.seq) into v_count, v_last from gone g;
        v_log.oldest := greatest(v_log.oldest, v_last + 1);
        v_more := v_count = p_rows;
      end if;
    end if;

    if not v_more then
      select p.relation into v_relation from log_partitions p
      where p.parent = 'identities' and p.past <= v_log.oldest order by p.first limit 1;
      if found then
        ${takeLock};
        v_more := columba_drop(v_relation);
      end if;
    end if;
    delete from message_status s where s.message in (
      select o.message from message_status o where o.seq < v_log.oldest order by o.seq limit p_rows
    );
    if found and not v_more then
      v_more := exists (select 1 from message_status o where o.seq < v_log.oldest);
    end if;

    -- Events that the pair kept from repeating are older by now than any that are accepted from a gateway.
    delete from jid_aliases a
    where a.erased_at <= v_now - p_keep and not exists (
      select 1 from ${
    readBlocks({
      index: "chat",
      columns: "e.seq",
      conditions: ["e.device_id = a.device_id", "e.chat in (a.spelling, a.other)", "e.message is not null"],
      lowest: "v_log.oldest",
      highest: "v_head",
      newestFirst: true,
      limit: "1"
    })
  } e
    );

    update log_identity l set oldest = v_log.oldest, retained_at = case when v_more then l.retained_at else v_now end;
    return query select false, 0::float8, v_count::float8, v_more;
  end
$columba$`

export const partitionFunctions = [attach, extend, drop, deleteFunction]
