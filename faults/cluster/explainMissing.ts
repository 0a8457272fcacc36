/** Facts about devices that no node holds although one should, for a person who looks for the reason. */
import { Effect } from "effect"
import { query } from "../../test/support/Ledger.ts"
import type { Arrangement } from "../Arrangement.ts"

/** Further ones are only counted. */
const explainedMax = 10

export const explainMissing = Effect.fnUntraced(function*(on: Arrangement, missing: ReadonlyArray<string>) {
  const { cluster, databaseUrl, devices } = on
  const ids = [...devices].filter(([, slot]) => missing.includes(slot)).map(([id]) => id)
  const rows = yield* query<Record<string, unknown>>(
    databaseUrl,
    `select d.id, d.owner, d.epoch, d.active, d.state::text as state, d.alive_until, d.updated_at, now() as now
    from devices d where d.id = any ($1::text[])`,
    [ids.slice(0, explainedMax)]
  )
  const shards = yield* query<Record<string, unknown>>(
    databaseUrl,
    "select address, count(*)::integer as shards, max(localtimestamp - acquired_at)::text as oldest from columba_cluster_locks group by 1"
  )
  const runners = yield* query<Record<string, unknown>>(databaseUrl, "select * from columba_cluster_runners")
  const nodes = yield* Effect.forEach(
    cluster?.nodes ?? [],
    Effect.fnUntraced(function*(node) {
      const readiness = yield* Effect.timeoutOption(node.readiness, "3 seconds")
      return { name: node.name, at: node.at, readiness }
    })
  )
  const asked = yield* Effect.forEach(
    rows,
    (row) =>
      on.columba.get<unknown>(`/api/v1/devices/${String(row["id"])}/connection`).pipe(
        Effect.timeoutOption("15 seconds"),
        Effect.catchCause((cause) => Effect.succeed(String(cause))),
        Effect.map((connection) => JSON.stringify({ row, connection }))
      )
  )
  return [
    `${missing.length} devices are not back: ${missing.slice(0, explainedMax).join(", ")}`,
    JSON.stringify({ shards, runners, nodes }),
    ...asked
  ]
})
