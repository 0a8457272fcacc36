/**
 * Messages that Columba sends. A row is created when a message is accepted; each change of its state is one statement that
 * checks the previous state. `untold`: such a statement changed the state, and its event is still to be written.
 *
 * `head` is the number of the newest event when the message was accepted: its place among the messages of the log.
 * `message` is the key of the WhatsApp id, which acks name. It is not unique, since a gateway may use an id twice.
 * Few rows wait at a time; old ones are deleted with the log's retention.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table sends (
    id text collate "C" primary key,
    ordinal bigint generated always as identity,
    device_id text collate "C" not null,
    chat text collate "C" not null,
    sender text not null,
    content json not null,
    state text collate "C" not null,
    on_unknown text collate "C" not null,
    head bigint not null,
    idempotency_key text collate "C",
    digest uuid,
    scheduled_at timestamptz,
    due_at timestamptz not null,
    expires_at timestamptz not null,
    epoch integer not null default 0,
    attempts integer not null default 0,
    claimed_at timestamptz,
    message uuid,
    wa_id text,
    reason text collate "C",
    detail text,
    untold boolean not null default false,
    created_at timestamptz not null,
    updated_at timestamptz not null
  ) with (fillfactor = 70)`,
  `create unique index sends_key on sends (device_id, idempotency_key) where idempotency_key is not null`,
  `create index sends_message on sends (message) where message is not null`,
  `create index sends_place on sends (head, ordinal)`,
  `create index sends_device on sends (device_id, head, ordinal)`,
  `create index sends_updated on sends (updated_at)`,
  `create index sends_queue on sends (device_id, due_at, ordinal) where state = 'pending'`,
  `create index sends_due on sends (due_at) where state = 'scheduled'`,
  `create index sends_expiry on sends (expires_at) where state in ('pending', 'scheduled')`,
  `create index sends_sending on sends (device_id, chat) where state = 'sending'`,
  `create index sends_unknown on sends (claimed_at) where state = 'unknown'`,
  `create index sends_limited on sends (device_id, chat, updated_at) where reason = 'reach-out-limit'`,
  `create index sends_untold on sends (updated_at) where untold`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
