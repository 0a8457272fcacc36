/**
 * Makes a process the owner of devices.
 *
 * An owner without a state since its claim (alive_until is set), or with a state in which the device runs, has crashed.
 * If it had devices on trial, its death counts only for those. An owner that was alive after the device was claimed by
 * another one has not crashed: it was suspended, or cut off from the database.
 */
import { nextEpoch } from "../nextEpoch.ts"

const epoch = nextEpoch("d.epoch", "v_now")

export const claimFunction = `create or replace function columba_claim(p_owner text, p_devices text[])
returns table (id text, epoch integer, alive_ms float8, claimed_ms float8, deaths integer, trials integer,
  tried_with integer)
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
      select d.id, d.owner, coalesce(d.alive_until, h.alive_at) as alive_at,
        d.owner is distinct from p_owner as moved,
        d.owner is not null and (d.alive_until is not null or d.state_tag not in ('Inactive', 'Quarantined')) as died,
        t.size,
        exists (select 1 from device_trials o where o.owner = d.owner) as others_tried,
        array(
          select row(e.owner, e.claimed_at, e.trial)::columba_death
          from unnest(d.ended) with ordinality e(owner, claimed_at, trial, n)
          where d.deaths > 0 and e.owner <> p_owner and not exists (
            select 1 from process_heartbeats a where a.owner = e.owner and a.alive_at > e.claimed_at
          )
          order by e.n
        ) as ended
      from devices d
      left join process_heartbeats h on h.owner = d.owner
      left join device_trials t on t.owner = d.owner and t.device = d.id
      where d.id = any (p_devices)
    ), after as (
      select b.id, b.alive_at, case when b.moved and b.died then b.size end as size, case
        when not b.moved then b.ended
        when not b.died or (b.others_tried and b.size is null) then '{}'
        -- The newest 16.
        else b.ended[greatest(1, cardinality(b.ended) - 14):] || row(b.owner, v_now, b.size)::columba_death
      end as ended
      from before b
    )
    update devices d set owner = p_owner, epoch = ${epoch}, claim = gen_random_uuid(), alive_until = n.alive_at,
      deaths = cardinality(n.ended), ended = n.ended
    from after n where d.id = n.id
    returning d.id, d.epoch, (extract(epoch from n.alive_at) * 1000)::float8,
      (extract(epoch from v_now) * 1000)::float8, d.deaths,
      (select count(e.trial)::integer from unnest(d.ended) e), n.size;
end
$$`
