/** The epochs of devices follow the time: see `services/epochs.ts`. Those of cursors are set by the statements that claim them. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { claimFunction } from "./claimFunction.ts"

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(claimFunction)
})
