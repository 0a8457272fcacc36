/**
 * How fast each device may send, where that is not the default of the server; and the messages that a device has sent to its
 * gateway by time, from which the state of its pacing is restored.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

const statements = [
  `alter table devices add column pacing json`,
  `create index sends_claimed on sends (device_id, claimed_at) where claimed_at is not null`
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
