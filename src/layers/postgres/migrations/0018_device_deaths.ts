/**
 * The number of consecutive processes that died while they ran a device, and the devices that a process starts on trial; see
 * `actors/fleet/Suspects.ts`. The claim counts. Older programs still work: the parts that they read are unchanged.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { claimFunction } from "./claimFunction.ts"

const statements = [
  `alter table devices add column deaths integer not null default 0`,
  // No foreign key: the rows of a process that has ended are read by the next claims of all its devices.
  `create table device_trials (
    owner text not null,
    device text not null,
    size integer not null,
    primary key (owner, device)
  )`,
  `drop function columba_claim(text, text[])`,
  claimFunction
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
