/**
 * The rare effects of a batch, called by the append function for batches that have some. `p_effects` has an array per
 * tag; each of its rows names its group (`g`), its draft (`i`, null where it belongs to the group alone) and its place in
 * the batch (`n`). A row counts under the same conditions as the frequent effects: `p_open` by group, `p_outcome` by draft.
 *
 * Each statement takes one row per key: a batch may name a gap twice, and one statement may write a row only once.
 */
import { rareEffectColumns, rareTags } from "../../../services/LogEffect.ts"
import type { RareTag } from "../../../services/LogEffect.ts"

const columnTypes = { text: "text", timestamp: "timestamptz", integer: "integer" } as const

/** The rows of a tag that count, as a relation. */
const rows = (tag: RareTag): string => {
  const declared: Readonly<Record<string, { readonly type: keyof typeof columnTypes }>> = rareEffectColumns[tag]
  const columns = Object.entries(declared).map(([name, { type }]) => `"${name}" ${columnTypes[type]}`)
  return `json_to_recordset(p_effects->'${tag}') as r(g integer, i integer, n integer, ${columns.join(", ")})
        where case when r.i is null then p_open[r.g] else p_outcome[r.i] = 0 end`
}

const statements: Readonly<Record<RareTag, string>> = {
  GapOpen: `insert into gaps as o (id, device_id, cause, status, opened_at, detail)
      select distinct on (r.gap) r.gap, r.device, r.cause, 'open', r."openedAt", r.detail
      from ${rows("GapOpen")}
      order by r.gap, r.n desc
      on conflict (id) do update set cause = excluded.cause, detail = excluded.detail
        where o.status = 'open' and o.ended_at is null;`,
  GapEnd: `insert into gaps as o (id, device_id, cause, status, opened_at, ended_at, detail)
      select distinct on (r.gap) r.gap, r.device, r.cause, 'open', r."openedAt", r."endedAt", r.detail
      from ${rows("GapEnd")}
      order by r.gap, r.n
      on conflict (id) do update set ended_at = excluded.ended_at
        where o.status = 'open' and o.ended_at is null;`,
  GapClose: `insert into gaps as o (id, device_id, cause, status, opened_at, ended_at, closed_at, proven, recovered,
        detail)
      select distinct on (r.gap) r.gap, r.device, r.cause, r.status, r."openedAt", r."endedAt", p_now, r.proven,
        r.recovered, r.detail
      from ${rows("GapClose")}
      order by r.gap, r.n
      on conflict (id) do update set status = excluded.status, ended_at = excluded.ended_at,
          closed_at = excluded.closed_at, proven = excluded.proven, recovered = excluded.recovered, detail = excluded.detail
        where o.status = 'open';`,
  Watermark: `insert into device_watermarks as w (device_id, through, swept_at)
      select r.device, max(least(r.through, v_clock)), max(case when r."sweptAt" > v_clock then v_clock else r."sweptAt" end)
      from ${rows("Watermark")}
      group by r.device
      on conflict (device_id) do update
        set through = case when w.through > v_clock then excluded.through
            else greatest(w.through, excluded.through) end,
          swept_at = case when w.swept_at > v_clock then coalesce(excluded.swept_at, w.swept_at)
            else greatest(w.swept_at, excluded.swept_at) end;`,
  Alive: `insert into process_heartbeats as h (owner, alive_at)
      select distinct on (r.owner) r.owner, r.at
      from ${rows("Alive")} and r."after" is not distinct from (
        select b.alive_at from process_heartbeats b where b.owner = r.owner
      )
      order by r.owner, r.n desc
      on conflict (owner) do update set alive_at = excluded.alive_at;`,
  Send:
    `update sends s set state = r.state, message = coalesce(s.message, r.message), wa_id = coalesce(s.wa_id, r.wa_id),
        reason = r.reason, detail = r.detail, untold = false, updated_at = p_now
      from (
        select distinct on (r.send) r.send, r.state, r.message::uuid as message, r."waId" as wa_id, r.reason, r.detail
        from ${rows("Send")}
        order by r.send, r.n desc
      ) r
      where s.id = r.send
        and (s.state = r.state or s.state = 'sending' or (s.state = 'unknown' and r.state in ('sent', 'failed')));`
}

export const rareEffectsFunction = `create function columba_rare_effects_v1(
    p_effects json, p_open boolean[], p_outcome integer[], p_now timestamptz
  ) returns void
  language plpgsql volatile as $columba$
  declare
    v_clock timestamptz := clock_timestamp();
  begin
${
  rareTags.map((tag) =>
    `    if p_effects->'${tag}' is not null then
      ${statements[tag]}
    end if;`
  ).join("\n")
}
  end
$columba$`
