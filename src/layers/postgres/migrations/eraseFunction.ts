/**
 * One step of an erasure: the next `p_rows` events of a device after `p_after`. `p_chats` null: all of the device.
 *
 * An erased event keeps its number, id, time and device. Its data and its chat go, and it is no message any more; the
 * digests by which a repeat with other content would be told go as well. Transitions of the device (`device.*`) and
 * gaps are ours and stay. A rejected frame or a gateway's own event has no chat of its own, so it is erased if its text
 * names the chat.
 */
export const eraseFunction = `create function columba_erase_v1(
    p_device text, p_chats text[], p_after float8, p_rows integer
  ) returns table (erased float8, through float8)
  language plpgsql volatile as $columba$
  declare
    v_chats text[] := p_chats;
    v_seqs bigint[]; v_targets bigint[]; v_messages uuid[];
  begin
    -- A status, an alias or a device is not to be written by an append of the same moment.
    perform pg_advisory_xact_lock(4341001, 1);
    if p_chats is not null then
      v_chats := v_chats || array(
        select a.other from jid_aliases a where a.device_id = p_device and a.spelling = any (p_chats)
      );
    end if;
    select array_agg(e.seq),
      array_agg(e.seq) filter (where e.named), array_agg(e.message) filter (where e.named and e.message is not null)
    into v_seqs, v_targets, v_messages
    from (
      select d.seq, d.message,
        case
          when d.chat is not null then v_chats is null or d.chat = any (v_chats)
          when d.kind <> 'frame.rejected' and d.kind not like 'gateway.%' then false
          else v_chats is null or exists (select 1 from unnest(v_chats) c(chat) where strpos(d.data::text, c.chat) > 0)
        end as named
      from events d where d.device_id = p_device and d.seq > p_after::bigint order by d.seq limit p_rows
    ) e;

    if cardinality(v_targets) > 0 then
      update events e
      set kind = 'event.erased', data = '{"erased":true}', bytes = octet_length('{"erased":true}'),
        message = null, content = null, chat = null
      where e.seq = any (v_targets);
      delete from message_status s where s.message = any (v_messages);
    end if;
    if p_chats is null then
      update devices d set jid = null, phone = null where d.id = p_device and (d.jid is not null or d.phone is not null);
    end if;
    return query select coalesce(cardinality(v_targets), 0)::float8,
      case when cardinality(v_seqs) = p_rows then v_seqs[p_rows]::float8 end;
  end
$columba$`
