/**
 * The append of the usual batch: messages and other events, each a group by itself, without a fence, effects or aliases,
 * and no key twice. Under the same lock and with the same guarantees as `columba_append_v1`, without the statements
 * that such a batch does not need.
 *
 * It verifies the batch: all events are new, the log is where the writer left it, addresses have
 * one spelling, and no partition has to be created. If not, it passes the batch to `columba_append_v1`, in the same transaction
 * and under the lock that it holds.
 *
 * `outcomes` is null in the answer: every draft is new, and the last number is the head.
 */
import { maybeKnown } from "./filterFunctions.ts"
import { appendArrays, draftArrays, movedCursors, moveArrays, settings, signalOthers } from "./appendFunction.ts"

const parameters = [...draftArrays, ...moveArrays]

/** Parameters that this function does not have are empty. */
const handOver = `columba_append_v1(p_floor, null, p_listener, ${
  appendArrays.map(([name, type]) => parameters.some(([given]) => given === name) ? name : `'{}'::${type}`).join(", ")
})`

export const plainAppendFunction = `create or replace function columba_append_plain_v1(
    p_floor float8, p_listener text, ${parameters.map(([name, type]) => `${name} ${type}`).join(", ")}
  ) returns table (
    log_id text, oldest float8, head float8, behind boolean, recorded_ms float8,
    outcomes integer[], seqs float8[], lost text[], refused integer[], named integer[], names text[]
  )
  language plpgsql volatile
  ${settings}
  as $columba$
  declare
    v_floor bigint := p_floor;
    v_new integer := cardinality(p_id);
    v_keys uuid[] := p_key::uuid[];
    v_known uuid[];
    v_repeated boolean := false;
    v_head bigint; v_last timestamptz; v_now timestamptz; v_lost text[];
    v_log record;
  begin
    perform pg_advisory_xact_lock(4341001, 1);
    select l.log_id, l.oldest, l.identities_span, l.identities_filtered, least(l.events_end, l.identities_end) as past,
      n.seq, n.recorded_at, ${signalOthers.condition} as heard
    into v_log
    from log_identity l left join lateral (
      select e.seq, e.recorded_at from events e where e.seq >= v_floor order by e.seq desc limit 1
    ) n on true;
    v_head := coalesce(v_log.seq, 0);
    if v_log.identities_filtered > 1 then
      v_known := ${maybeKnown("v_keys")};
      if cardinality(v_known) > 0 then
        v_repeated := exists (
          select 1 from identities n where n.key = any (v_known) and n.seq < v_log.identities_filtered
        );
      end if;
    end if;
    if v_repeated or v_head <> v_floor or v_head + v_new >= v_log.past
      or (v_head + v_new) / greatest(1, v_log.identities_span / 16) <> v_head / greatest(1, v_log.identities_span / 16)
      or exists (
        select 1 from identities n
        where n.key = any (v_keys) and n.seq >= v_log.identities_filtered and n.seq <= v_head
      )
      or exists (
        select 1 from unnest(p_device, p_from) u(device, spelling)
        join jid_aliases a on a.device_id = u.device and a.spelling = u.spelling
      )
      or exists (
        select 1 from unnest(p_device, p_sender, p_from) u(device, spelling, chat)
        join jid_aliases a on a.device_id = u.device and a.spelling = u.spelling
        where u.spelling <> u.chat
      )
    then
      return query select * from ${handOver};
      return;
    end if;
    v_now := greatest(v_log.recorded_at, date_trunc('milliseconds', clock_timestamp()));

    insert into events
      (seq, id, kind, device_id, occurred_at, recorded_at, via, message, content, chat, bytes, data)
    select v_head + u.i, u.id::uuid, u.kind, u.device, u.occurred, v_now, u.via, u.message::uuid, u.content::uuid, u.chat,
      octet_length(u.data), u.data::json
    from unnest(p_id, p_kind, p_device, p_occurred, p_via, p_message, p_content, p_chat, p_data) with ordinality
      u(id, kind, device, occurred, via, message, content, chat, data, i);
    insert into identities (key, seq)
    select u.key, v_head + u.i from unnest(v_keys) with ordinality u(key, i) where u.key is not null;
    if v_log.heard then
      ${signalOthers.statement}
    end if;
${movedCursors}

    log_id := v_log.log_id; oldest := v_log.oldest; head := v_head + v_new; behind := false;
    recorded_ms := extract(epoch from v_now) * 1000;
    lost := coalesce(v_lost, '{}'); refused := '{}'; named := '{}'; names := '{}';
    return next;
  end
$columba$`
