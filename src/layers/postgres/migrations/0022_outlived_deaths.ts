/**
 * The processes that ended while they ran a device, instead of their number alone, so that a process which is alive again
 * does not count. Deaths that were counted before are forgotten. Older programs still work: they read the columns of the claim
 * by name, and forget with `deaths` = 0.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { claimFunction } from "./claimFunction.ts"

const statements = [
  // When another process has claimed the device, and with how many the device was on trial, if it was.
  `create type columba_death as (owner text, claimed_at timestamptz, trial integer)`,
  `alter table devices add column ended columba_death[] not null default '{}'`,
  `drop function if exists columba_claim(text, text[])`,
  claimFunction
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
