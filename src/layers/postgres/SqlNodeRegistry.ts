/** The table `cluster_nodes`, with the leases of the shards, which the sharding writes. */
import { Duration, Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import { forgottenAfter, NodeRegistry, reportedFor } from "../../services/NodeRegistry.ts"
import type { NodeReport, RegisteredNode } from "../../services/NodeRegistry.ts"
import { makeAnswered } from "./Migrations.ts"

interface Row {
  readonly owner: string
  readonly name: string
  readonly started_ms: number
  readonly seen_ms: number
  readonly alive: boolean
  readonly version: string
  readonly roles: ReadonlyArray<string>
  readonly weight: number | null
  readonly lease_ms: number
  readonly settings: string
  readonly moves: string
}

interface LeaseRow {
  readonly address: string
  readonly shards: number
  readonly age_ms: number
}

export const layer: Layer.Layer<never, never, SqlClient.SqlClient> = Layer.effect(
  NodeRegistry,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered

    /** The sharding creates the table when the first node joins. */
    const leases = Effect.gen(function*() {
      const [made] = yield* sql<{ made: boolean }>`select to_regclass('columba_cluster_locks') is not null as made`
      return made?.made !== true ? [] : yield* sql<LeaseRow>`
        select address, count(*)::integer as shards,
          (extract(epoch from localtimestamp - min(acquired_at)) * 1000)::float8 as age_ms
        from columba_cluster_locks group by address`
    })

    return {
      report: (report: NodeReport) =>
        sql.unsafe(
          `with old as (
            delete from cluster_nodes
            where owner <> $1 and seen_at < clock_timestamp() - $10::float8 * interval '1 millisecond'
          )
          insert into cluster_nodes (owner, name, started_at, seen_at, version, roles, weight, lease_ms, settings, moves)
          values ($1, $2, $3::text::timestamptz, clock_timestamp(), $4, $5::text[], $6, $7, $8::text::json, $9::text::json)
          on conflict (owner) do update set seen_at = excluded.seen_at, moves = excluded.moves`,
          [
            PgTypes.text(report.owner),
            PgTypes.text(report.name),
            PgTypes.text(report.startedAt),
            PgTypes.text(report.version),
            [...report.roles],
            report.weight === null ? null : PgTypes.float8(report.weight),
            PgTypes.float8(report.leaseMillis),
            PgTypes.text(JSON.stringify(report.settings)),
            PgTypes.text(JSON.stringify(report.moves)),
            PgTypes.float8(Duration.toMillis(forgottenAfter))
          ]
        ).pipe(Effect.asVoid, answered("report a node of the cluster")),
      leave: (owner: string) =>
        sql`delete from cluster_nodes where owner = ${owner}`.pipe(
          Effect.asVoid,
          answered("remove a node of the cluster")
        ),
      list: Effect.gen(function*() {
        const rows = yield* sql.unsafe<Row>(
          `select owner, name, (extract(epoch from started_at) * 1000)::float8 as started_ms,
            (extract(epoch from seen_at) * 1000)::float8 as seen_ms,
            seen_at > clock_timestamp() - $1::float8 * interval '1 millisecond' as alive,
            version, roles, weight, lease_ms, settings::text as settings, moves::text as moves
          from cluster_nodes order by name, started_at`,
          [PgTypes.float8(Duration.toMillis(reportedFor))]
        )
        const held = new Map(
          (rows.length === 0 ? [] : yield* leases).map((row) => [row.address, row] as const)
        )
        return rows.map((row): RegisteredNode => {
          const own = row.weight === null ? undefined : held.get(row.name)
          return {
            owner: row.owner,
            name: row.name,
            startedAt: new Date(row.started_ms).toISOString(),
            seenAt: new Date(row.seen_ms).toISOString(),
            alive: row.alive,
            version: row.version,
            roles: row.roles,
            weight: row.weight,
            leaseMillis: row.lease_ms,
            settings: JSON.parse(row.settings) as NodeReport["settings"],
            moves: JSON.parse(row.moves) as NodeReport["moves"],
            shards: own?.shards ?? 0,
            leaseAgeMillis: own === undefined ? null : Math.max(0, Math.round(own.age_ms))
          }
        })
      }).pipe(answered("list the nodes of the cluster"))
    }
  })
)
