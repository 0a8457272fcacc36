/**
 * Adds full generations of identities to the filters, and merges them into larger ones, so that an append has few
 * to probe.
 *
 * One step per call and per transaction. Filters come first, because every append probes a generation that is in none. A merge
 * begins with a plan: `identities_fanin` adjacent generations of one size that receive no more events. Then their identities are
 * copied in key order, `p_rows` at a time, into a table that
 * no query reads yet, and the last copied key is stored in the same transaction; so a process that dies leaves a merge that the
 * next one resumes. At last the table replaces them, under the append's lock. Identities never change, so appends and
 * erasures continue meanwhile.
 *
 * Returns `idle` (nothing to do), `working`, `merged`, or `busy`: another process merges, or a session reads the whole
 * table for long.
 */

/** Separate from the append's lock (1) and the fleet's (2). */
const takeTurn = "pg_try_advisory_xact_lock(4341001, 3)"

/** As for dropping a partition: appends wait for this time too. */
const swapWait = "200ms"

export const mergeFunction = `create or replace function columba_merge_v1(p_rows integer) returns text
  language plpgsql volatile
  set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off
  as $columba$
  declare
    v_log log_identity;
    v_merge identity_merge;
    v_relation text; v_copied bigint; v_through uuid;
    v_wait text := current_setting('lock_timeout');
  begin
    if not ${takeTurn} then return 'busy'; end if;
    if columba_filter_step(p_rows) then return 'working'; end if;
    select * into v_log from log_identity;
    select * into v_merge from identity_merge;

    if v_merge.relation is null then
      select s.sources[1:v_log.identities_fanin], s.firsts[1], s.pasts[v_log.identities_fanin]
      into v_merge.sources, v_merge.first, v_merge.past
      from (
        select p.past - p.first as span, array_agg(p.relation order by p.first) as sources,
          array_agg(p.first order by p.first) as firsts, array_agg(p.past order by p.first) as pasts
        from log_partitions p
        where p.parent = 'identities' and p.past <= (select e.seq from events e order by e.seq desc limit 1)
        group by p.past - p.first
      ) s
      where cardinality(s.sources) >= v_log.identities_fanin
        and s.pasts[v_log.identities_fanin] - s.firsts[1] = s.span * v_log.identities_fanin
        and s.span * v_log.identities_fanin <= v_log.identities_max
      order by s.span limit 1;
      if not found then return 'idle'; end if;
      v_merge.relation := 'identities_' || v_merge.first || '_' || v_merge.past;
      execute format('create table %I (like identities including all)', v_merge.relation);
      -- With it the table can be attached without being read.
      execute format('alter table %I add constraint numbers check (seq >= %s and seq < %s)',
        v_merge.relation, v_merge.first, v_merge.past);
      insert into identity_merge (relation, sources, first, past)
      values (v_merge.relation, v_merge.sources, v_merge.first, v_merge.past);
      return 'working';
    end if;

    if v_merge.complete then
      perform pg_advisory_xact_lock(4341001, 1);
    end if;
    -- Retention has dropped some of its sources.
    if (select count(*) from log_partitions p where p.relation = any (v_merge.sources)) < cardinality(v_merge.sources) then
      execute format('drop table %I', v_merge.relation);
      delete from identity_merge;
      return 'working';
    end if;

    if not v_merge.complete then
      begin
        execute format(
          'with next as (
            select s.key, s.seq from (%s) s where %s order by s.key fetch first %s rows with ties
          ), copied as (
            insert into %I (key, seq) select n.key, n.seq from next n
          )
          select count(*), max(n.key::text collate "C")::uuid from next n',
          (select string_agg(format('select key, seq from %I', r), ' union all ') from unnest(v_merge.sources) r),
          -- Outside of the parts: only then are their indexes used, in order.
          case when v_merge.through is null then 'true' else 's.key > $1' end,
          p_rows, v_merge.relation
        ) into v_copied, v_through using v_merge.through;
      exception when undefined_table then
        -- Retention has dropped the sources in the meantime.
        return 'busy';
      end;
      update identity_merge set through = coalesce(v_through, through), complete = v_copied < p_rows;
      return 'working';
    end if;

    begin
      perform set_config('lock_timeout', '${swapWait}', true);
      foreach v_relation in array v_merge.sources loop
        execute format('drop table %I', v_relation);
      end loop;
      execute format('alter table identities attach partition %I for values from (%s) to (%s)',
        v_merge.relation, v_merge.first, v_merge.past);
      execute format('alter table %I drop constraint numbers', v_merge.relation);
      perform set_config('lock_timeout', v_wait, true);
    exception when lock_not_available then
      return 'busy';
    end;
    delete from log_partitions p where p.relation = any (v_merge.sources);
    insert into log_partitions (relation, parent, first, past)
    values (v_merge.relation, 'identities', v_merge.first, v_merge.past);
    delete from identity_merge;
    return 'merged';
  end
$columba$`
