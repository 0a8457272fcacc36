/** Filters over full generations of identities, and the functions of the log that use and maintain them. */
import { Effect } from "effect"
import { SqlClient } from "effect/sql"
import { appendFunction } from "./appendFunction.ts"
import { filterFunctions, filterTables } from "./filterFunctions.ts"
import { mergeFunction } from "./mergeFunction.ts"
import { plainAppendFunction } from "./plainAppendFunction.ts"

const statements = [...filterTables, ...filterFunctions, mergeFunction, appendFunction, plainAppendFunction]

export default Effect.gen(function*() {
  const sql = yield* SqlClient.SqlClient
  for (const statement of statements) yield* sql.unsafe(statement)
})
