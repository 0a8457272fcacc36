/**
 * Distinguishes claims in different copies of the database, since each copy assigns the next epoch. The epochs of devices
 * follow the time, so that a decision that waits for the log is refused in a copy where its device was claimed later. Each claim
 * of a cursor has its own id. Older programs claim cursors without changing it, so such a claim is known by both.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { claimFunction } from "./claimFunction.ts"

const statements = [
  `alter table sink_cursors add column claim uuid not null default gen_random_uuid()`,
  claimFunction
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
