/**
 * Retention keeps the events that a subscription holds behind its cursor as long as events that the subscription has not
 * reached. The function has the same signature as before, so older programs keep these events too.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { deleteFunction } from "./partitionFunctions.ts"

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(deleteFunction)
})
