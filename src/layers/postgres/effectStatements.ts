/**
 * How the append function applies each frequent effect. The parameters of an effect are its columns under its prefix
 * (`k_message text[]`), with the group and the draft that each row belongs to. The rare effects have a separate function
 * (`migrations/rareEffectsFunction.ts`).
 */
import type { FrequentTag } from "../../services/LogEffect.ts"

export const effectPrefix: Readonly<Record<FrequentTag, string>> = { Ack: "k", State: "s" }

/** Whether the row of an effect counts: its draft is new, or its group is open (see the append function). */
const counts = (alias: string): string =>
  `case when ${alias}.i is null then v_open[${alias}.g] else v_outcome[${alias}.i] = 0 end`

/** The acks of a batch per message: the furthest status, and the first that is not `pending`. */
const acks = `(
        select k.message::uuid as message, max(columba_rank(k.status)) as rank,
          (array_agg(k.status order by k.n) filter (where k.status <> 'pending'))[1] as first
        from unnest(k_group, k_index, k_message, k_status) with ordinality k(g, i, message, status, n)
        where ${counts("k")}
        group by k.message
      ) a`

export const effectStatements: Readonly<Record<FrequentTag, string>> = {
  // A row is created once a status moves beyond a message's initial one, also where the ack comes before its
  // message. Only a message that is pending can fail.
  Ack: `    if cardinality(k_message) > 0 then
      update message_status m
      set status = case when m.status = 'pending' and a.first = 'failed' then 'failed' else columba_status(a.rank) end,
        updated_at = v_now
      from ${acks}
      where m.message = a.message and m.status <> 'failed'
        and (columba_rank(m.status) < a.rank or (m.status = 'pending' and a.first = 'failed'));
      insert into message_status (message, status, seq, updated_at)
      select a.message, columba_status(a.rank), v_head + v_new, v_now from ${acks}
      where a.rank > 1 and not exists (select 1 from message_status m where m.message = a.message);
    end if;`,
  State: `    if cardinality(s_device) > 0 then
      update devices d
      set state = u.state::json, state_tag = u.tag,
        jid = case u.tag when 'LoggedOut' then null else coalesce(u.jid, d.jid) end,
        phone = case u.tag when 'LoggedOut' then null else coalesce(u.phone, d.phone) end,
        updated_at = v_now, alive_until = null
      from (
        select s.device,
          (array_agg(s.state order by s.n desc))[1] as state,
          (array_agg(s.tag order by s.n desc))[1] as tag,
          (array_agg(s.jid order by s.n desc) filter (where s.jid is not null))[1] as jid,
          (array_agg(s.phone order by s.n desc) filter (where s.phone is not null))[1] as phone
        from unnest(s_group, s_index, s_device, s_state, s_tag, s_jid, s_phone) with ordinality
          s(g, i, device, state, tag, jid, phone, n)
        where ${counts("s")}
        group by s.device
      ) u
      where d.id = u.device;
    end if;`
}
