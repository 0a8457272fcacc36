/**
 * Makes a process the owner of devices.
 *
 * An owner without a state since its claim (alive_until is set), or with a state in which the device runs, has crashed.
 * If it had devices on trial, its death counts only for those.
 */
export const claimFunction = `create or replace function columba_claim(p_owner text, p_devices text[])
returns table (id text, epoch integer, alive_ms float8, claimed_ms float8, deaths integer, tried_with integer)
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
      select d.id, coalesce(d.alive_until, h.alive_at) as alive_at,
        d.owner is distinct from p_owner as moved,
        d.owner is not null and (d.alive_until is not null or d.state_tag not in ('Inactive', 'Quarantined')) as died,
        t.size,
        exists (select 1 from device_trials o where o.owner = d.owner) as trials
      from devices d
      left join process_heartbeats h on h.owner = d.owner
      left join device_trials t on t.owner = d.owner and t.device = d.id
      where d.id = any (p_devices)
    )
    update devices d set owner = p_owner, epoch = d.epoch + 1, claim = gen_random_uuid(), alive_until = b.alive_at,
      deaths = case
        when not b.moved then d.deaths
        when not b.died or (b.trials and b.size is null) then 0
        else d.deaths + 1
      end
    from before b where d.id = b.id
    returning d.id, d.epoch, (extract(epoch from b.alive_at) * 1000)::float8,
      (extract(epoch from v_now) * 1000)::float8, d.deaths, case when b.moved and b.died then b.size end;
end
$$`
