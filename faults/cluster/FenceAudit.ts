/**
 * An auditor in the database: every decision goes through it on its way into the log. It notes those under an epoch that is
 * not the last of their device, and whether they were refused. It shares nothing with the code that refuses them.
 */
import { Effect } from "effect"
import { query } from "../../test/support/Ledger.ts"

export interface Audit {
  /** Decisions of an actor that is no longer its device's owner. */
  readonly tried: number
  /** Of those, what is in the log or the tables nevertheless. */
  readonly landed: ReadonlyArray<string>
}

/**
 * Stands in for the append. The lock is the append's own, so no claim or other append comes between the look and the write. A
 * batch that was committed before and is tried again is no new decision.
 */
const auditor = (parameters: string, names: string) =>
  `create function columba_append_v1(${parameters}) returns table (
    log_id text, oldest float8, head float8, behind boolean, recorded_ms float8,
    outcomes integer[], seqs float8[], lost text[], refused integer[], named integer[], names text[]
  ) language plpgsql volatile as $audit$
#variable_conflict use_column
declare r record; v_stale integer[];
begin
  if cardinality(g_device) > 0 then
    perform pg_advisory_xact_lock(4341001, 1);
    select array_agg(g.i::integer) into v_stale
    from unnest(g_device, g_epoch) with ordinality g(device, epoch, i)
    where g.device is not null and not exists (select 1 from devices d where d.id = g.device and d.epoch = g.epoch);
  end if;
  select * into r from columba_append_audited(${names});
  if v_stale is not null then
    insert into fault_stale
    select g.device, g.epoch, d.epoch,
      coalesce((select string_agg(k.kind, ',') from unnest(p_group, p_kind) k(g, kind) where k.g = g.i), 'effects'),
      not (g.i = any (r.refused)) and not r.behind and not exists (
        select 1 from unnest(p_group, r.outcomes) o(g, outcome) where o.g = g.i and o.outcome in (1, 4)
      )
    from unnest(g_device, g_epoch) with ordinality g(device, epoch, i) left join devices d on d.id = g.device
    where g.i = any (v_stale);
  end if;
  return query select r.log_id, r.oldest, r.head, r.behind, r.recorded_ms, r.outcomes, r.seqs, r.lost, r.refused,
    r.named, r.names;
end $audit$`

export const make = (databaseUrl: string) =>
  Effect.gen(function*() {
    const [found] = yield* query<{ readonly parameters: string; readonly names: string }>(
      databaseUrl,
      `select pg_get_function_identity_arguments(p.oid) as parameters,
        array_to_string(array(
          select a.name from unnest(p.proargnames, p.proargmodes) with ordinality a(name, mode, i)
          where a.mode = 'i' order by a.i
        ), ', ') as names
      from pg_proc p where p.proname = 'columba_append_v1'`
    )
    yield* query(
      databaseUrl,
      "create table fault_stale (device text, held integer, last integer, what text, landed boolean)"
    )
    yield* query(databaseUrl, "alter function columba_append_v1 rename to columba_append_audited")
    yield* query(databaseUrl, auditor(found?.parameters ?? "", found?.names ?? ""))
    return Effect.map(
      query<{ readonly landed: boolean; readonly text: string }>(
        databaseUrl,
        `select landed, device || ': ' || what || ' under epoch ' || held || ', the last is ' || last as text from fault_stale`
      ),
      (rows): Audit => ({ tried: rows.length, landed: rows.flatMap(({ landed, text }) => landed ? [text] : []) })
    )
  })
