/** The devices' settings for answers by a language model. The answers are rows of `sends`, identified by their keys. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `create table auto_replies (
    device_id text collate "C" primary key,
    enabled boolean not null,
    prompt text not null,
    history integer not null,
    daily_limit integer not null,
    updated_at timestamptz not null
  )`,
  `create index sends_auto_reply on sends (device_id, chat, created_at) where idempotency_key like 'auto-reply:%'`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
