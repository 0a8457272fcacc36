/**
 * The index of devices begins with the block of the number, as the one of chats does; and the functions that read by it. On a
 * long log the index may exist already: building it takes longer than a statement of the program may (docs/operating.md).
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { blockBits } from "../deviceBlocks.ts"
import { eraseFunctions } from "./eraseFunction.ts"
import { deleteFunction } from "./partitionFunctions.ts"

const statements = [
  `create or replace function columba_device_block(seq bigint) returns bigint language sql immutable parallel safe as $$
    select seq / ${1 << blockBits}
  $$`,
  `create index if not exists events_device_block on events (columba_device_block(seq), device_id, seq)`,
  `drop index events_device`,
  ...eraseFunctions,
  deleteFunction
]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
