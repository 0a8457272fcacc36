/**
 * Messages with files. `file`: the uploaded file that the message is sent with. `fetching`: the message is claimed, and the file
 * of its URL is still being fetched, so that its request cannot have begun.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `alter table sends add column file text collate "C", add column fetching boolean not null default false`,
  `create index sends_file on sends (device_id, file)
    where file is not null and state in ('scheduled', 'pending', 'sending', 'unknown')`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
