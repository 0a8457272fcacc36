/** The erasure of a chat or of a device, in place: numbers stay. */
import { lastOfBlocks, readBlocks } from "../deviceBlocks.ts"

/**
 * A transition without the device's own account: the address and the phone number are null, and the number is
 * replaced where a sentence of the gateway contains it. Works on the text, because JSON functions refuse an escaped NUL.
 */
const redactFunction = `create or replace function columba_redact(p_data text, p_account text[]) returns text
  language plpgsql immutable as $columba$
  declare
    v_field text := '"(jid|phone)":"([^"\\\\]+)"';
    v_plain text := regexp_replace(p_data, v_field, '"\\1":null', 'g');
    v_data text := v_plain;
    v_number text;
  begin
    for v_number in
      select distinct n.number from (
        select substring(x.said from '[0-9]{7,}') as number
        from unnest(p_account || array(select m[2] from regexp_matches(p_data, v_field, 'g') m)) x(said)
      ) n where n.number is not null
    loop
      v_data := regexp_replace(v_data, '(?<![0-9])' || v_number || '(?![0-9])', 'erased', 'g');
    end loop;
    perform v_data::json;
    return v_data;
  exception when invalid_text_representation then
    -- The number was a value by itself and not part of a text.
    return v_plain;
  end
$columba$`

/** Maximum data that one step searches, under the lock that appends wait for: about 50 ms. A larger event is a step by itself. */
const stepBytesMax = 8 * 1024 * 1024

/**
 * One step of an erasure: the next `p_rows` events of a device after `p_after`, or fewer large ones, within a bounded number
 * of blocks. `p_chats` null: all of the device.
 *
 * An erased event keeps its number, id, time and device. Its data and its chat are deleted, and it no longer counts as a
 * message; so are the digests that would identify a repeat with other content. Transitions of the device (`device.*`) and
 * gaps are ours and stay; when a whole device is erased, transitions lose the address and the number of its account. A rejected
 * frame or a gateway's own event has no chat, so it is erased if its text names the chat.
 *
 * `named`: a remaining event names the chat, such as a message of its account in a group.
 */
const eraseStep = `create or replace function columba_erase_v1(
    p_device text, p_chats text[], p_after float8, p_rows integer
  ) returns table (erased float8, named boolean, through float8)
  language plpgsql volatile as $columba$
  declare
    v_chats text[] := p_chats;
    v_seqs bigint[]; v_targets bigint[]; v_messages uuid[];
    v_account text[]; v_named boolean; v_more boolean;
    v_lowest bigint; v_highest bigint; v_head bigint;
  begin
    -- A concurrent append must not write a status, an alias or a device.
    perform pg_advisory_xact_lock(4341001, 1);
    if p_chats is not null then
      v_chats := v_chats || array(
        select a.other from jid_aliases a where a.device_id = p_device and a.spelling = any (p_chats)
      );
    end if;
    select greatest(p_after::bigint + 1, l.oldest) into v_lowest from log_identity l;
    v_head := coalesce((select e.seq from events e order by e.seq desc limit 1), 0);
    v_highest := least(v_head, ${lastOfBlocks("v_lowest")});
    select array_agg(e.seq order by e.seq) filter (where e.within),
      array_agg(e.seq) filter (where e.target), array_agg(e.message) filter (where e.target and e.message is not null),
      coalesce(bool_or(not e.target and e.said), false), coalesce(count(*) = p_rows or not bool_and(e.within), false)
    into v_seqs, v_targets, v_messages, v_named, v_more
    from (
      select d.seq, d.message, d.within, s.said,
        case
          when not d.within then false
          when d.chat is not null then v_chats is null or d.chat = any (v_chats)
          when d.kind <> 'frame.rejected' and d.kind not like 'gateway.%' then false
          else v_chats is null or s.said
        end as target
      from (
        select l.*, sum(l.bytes) over (order by l.seq) - l.bytes < ${stepBytesMax} as within
        from ${
  readBlocks({
    index: "device",
    conditions: ["e.device_id = p_device"],
    lowest: "v_lowest",
    highest: "v_highest",
    newestFirst: false,
    limit: "p_rows"
  })
} l
      ) d
      cross join lateral (
        select d.within and exists (
          select 1 from unnest(v_chats) c(chat) where strpos(d.data::text, c.chat) > 0
        ) as said
      ) s
    ) e;
    -- Where the step ended: at the last event that it has examined, or with its last block.
    if v_more then
      v_highest := v_seqs[cardinality(v_seqs)];
    else
      v_more := v_highest < v_head;
    end if;

    if cardinality(v_targets) > 0 then
      update events e
      set kind = 'event.erased', data = '{"erased":true}', bytes = octet_length('{"erased":true}'),
        message = null, content = null, chat = null
      where e.seq = any (v_targets);
      delete from message_status s where s.message = any (v_messages);
    end if;
    if p_chats is null then
      select array[d.jid, d.phone] into v_account from devices d where d.id = p_device;
      update events e set data = r.data::json, bytes = octet_length(r.data)
      from (
        select x.seq, x.data::text as was, columba_redact(x.data::text, coalesce(v_account, '{}')) as data
        from events x where x.seq = any (v_seqs) and x.kind like 'device.%'
      ) r
      where e.seq = r.seq and r.data <> r.was;
      if not v_more then
        update devices d
        set jid = null, phone = null, state = columba_redact(d.state::text, v_account)::json
        where d.id = p_device;
      end if;
    end if;
    return query select coalesce(cardinality(v_targets), 0)::float8, v_named,
      case when v_more then v_highest::float8 end;
  end
$columba$`

export const eraseFunctions = [redactFunction, eraseStep]
