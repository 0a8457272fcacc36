/**
 * Messages that the consumer has handled (`done`), that failed and are retried (`failing`, by us where `due_at` is set, else by
 * the broker) and that it has abandoned (`dead`), per event and handler.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table message_inbox (
    event_id uuid not null,
    handler text collate "C" not null,
    seq bigint not null,
    state text collate "C" not null,
    attempts integer not null,
    failure text,
    due_at timestamptz,
    updated_at timestamptz not null,
    primary key (event_id, handler)
  )`,
  `create index message_inbox_due on message_inbox (due_at) where state = 'failing' and due_at is not null`,
  `create index message_inbox_dead on message_inbox (seq, handler) where state = 'dead'`,
  `create index message_inbox_updated on message_inbox (updated_at)`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
