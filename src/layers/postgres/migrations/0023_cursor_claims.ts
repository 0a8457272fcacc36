/**
 * Each claim of a cursor has its own id, since an older database assigns the same epochs again. Older programs claim without
 * changing it, so a claim is known by both.
 */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  yield* sql.unsafe(`alter table sink_cursors add column claim uuid not null default gen_random_uuid()`)
})
