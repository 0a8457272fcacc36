/**
 * Retention keeps what waits behind an event that an endpoint does not take as long as what its subscription has not come to.
 * The function is called as before, so older programs delete no more than that either.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { deleteFunction } from "./partitionFunctions.ts"

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(deleteFunction)
})
