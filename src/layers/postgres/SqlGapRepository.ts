/** The tables `gaps`, `device_watermarks` and `process_heartbeats`, which only the log writes. */
import { Duration, Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { Gap, GapCause, GapCounts, GapId, Provable, Watermark } from "../../domain/Gap.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { GapRepository, gapIdPattern } from "../../services/GapRepository.ts"
import { decodeCursor, encodeCursor, pageLimit } from "../../services/pageCursor.ts"
import { makeAnswered } from "./Migrations.ts"

interface GapRow {
  readonly id: string
  readonly device_id: string
  readonly cause: string
  readonly status: string
  readonly opened_ms: number
  readonly ended_ms: number | null
  readonly closed_ms: number | null
  readonly proven: string
  readonly recovered: number
  readonly detail: string
}

const millis = (expression: string): string => `(extract(epoch from ${expression}) * 1000)::float8`

const columns = `g.id, g.device_id, g.cause, g.status, ${millis("g.opened_at")} as opened_ms,
  ${millis("g.ended_at")} as ended_ms, ${millis("g.closed_at")} as closed_ms, g.proven, g.recovered, g.detail`

/** Accounted for but unproven. The text equals that of the index for messages. */
const unproven = (what: Provable): string =>
  `g.closed_at is not null and not ('${what}' = any (string_to_array(g.proven, ',')))`

/** Maximum number of gaps of a device that are counted. A device with more is flapping, and the exact number adds nothing. */
const countMax = 10_000

/** Maximum number of rows that one statement deletes: some milliseconds. */
const deleteRowsMax = 5_000

export const layer: Layer.Layer<GapRepository, never, SqlClient.SqlClient> = Layer.effect(
  GapRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered

    const deleteStep = (keep: Duration.Duration) =>
      sql.unsafe<{ readonly count: number }>(
        `with gone as (
          delete from gaps where id = any (array(
            select g.id from gaps g where g.closed_at <= now() - $1::float8 * interval '1 millisecond'
            order by g.closed_at limit $2
          )) returning 1
        )
        select count(*)::integer as count from gone`,
        [PgTypes.float8(Duration.toMillis(keep)), PgTypes.int8(BigInt(deleteRowsMax))]
      ).pipe(Effect.map((rows) => rows[0]!.count), answered("delete old gaps"))

    const deleteHeartbeats = (keep: Duration.Duration) =>
      sql.unsafe(
        `delete from process_heartbeats h
        where h.alive_at <= clock_timestamp() - $1::float8 * interval '1 millisecond'
          and not exists (select 1 from devices d where d.owner = h.owner)`,
        [PgTypes.float8(Duration.toMillis(keep))]
      ).pipe(answered("delete old heartbeats"))

    return GapRepository.of({
      known: (ids) =>
        sql.unsafe<{ readonly id: GapId }>("select id from gaps where id = any ($1::text[])", [[...ids]]).pipe(
          Effect.map((rows) => new Set(rows.map(({ id }) => id))),
          answered("find gaps")
        ),
      openOf: (devices) =>
        sql.unsafe<GapRow>(
          `select ${columns} from gaps g where g.status = 'open' and g.device_id = any($1::text[])
          order by g.device_id, g.opened_at, g.id`,
          [[...devices]]
        ).pipe(
          Effect.map((rows) => {
            const found = new Map<DeviceId, Array<Gap>>()
            for (const gap of rows.map(toGap)) {
              const before = found.get(gap.deviceId)
              if (before === undefined) found.set(gap.deviceId, [gap])
              else before.push(gap)
            }
            return found
          }),
          answered("read open gaps")
        ),
      page: Effect.fn("GapRepository.page")(function*(options) {
        const before = options.cursor === undefined ? null : yield* decodeCursor(options.cursor, gapIdPattern)
        const limit = pageLimit(options.limit)
        const conditions = ["true"]
        const parameters: Array<unknown> = [PgTypes.int8(BigInt(limit + 1))]
        const where = (condition: (parameter: string) => string, value: unknown) => {
          parameters.push(value)
          conditions.push(condition(`$${parameters.length}`))
        }
        if (before !== null) where((parameter) => `g.id < ${parameter}`, PgTypes.text(before))
        if (options.device !== undefined) {
          where((parameter) => `g.device_id = ${parameter}`, PgTypes.text(options.device))
        }
        if (options.status !== undefined) where((parameter) => `g.status = ${parameter}`, PgTypes.text(options.status))
        if (options.unproven !== undefined) conditions.push(unproven(options.unproven))
        const found = `select g.* from gaps g where ${conditions.join(" and ")}`
        const newest = "order by g.id desc limit $1"
        if (options.visible !== undefined) parameters.push([...new Set(options.visible)])
        const rows = yield* sql.unsafe<GapRow>(
          options.visible === undefined
            ? `select ${columns} from (${found} ${newest}) g ${newest}`
            // The newest of each device, by its index: in a large fleet they may be few among all.
            : `select ${columns} from unnest($${parameters.length}::text[]) v(id)
              cross join lateral (${found} and g.device_id = v.id ${newest}) g ${newest}`,
          parameters
        )
        const items = rows.slice(0, limit).map(toGap)
        return { items, next: rows.length > limit ? encodeCursor(items[limit - 1]!.id) : null }
      }, answered("list gaps")),
      watermarks: (devices) =>
        sql.unsafe<
          { readonly device_id: string; readonly through_ms: number | null; readonly swept_ms: number | null }
        >(
          `select w.device_id, ${millis("w.swept_at")} as swept_ms,
            case when w.through <= clock_timestamp() then ${millis("w.through")} end as through_ms
          from device_watermarks w where w.device_id = any($1::text[])`,
          [[...devices]]
        ).pipe(
          Effect.map((rows) =>
            new Map(rows.map((row): readonly [DeviceId, Watermark] => {
              const deviceId = row.device_id as DeviceId
              return [deviceId, { deviceId, through: toTime(row.through_ms), sweptAt: toTime(row.swept_ms) }]
            }))
          ),
          answered("read watermarks")
        ),
      heartbeat: (owner) =>
        sql.unsafe<{ readonly now_ms: number; readonly alive_ms: number | null; readonly newest_ms: number | null }>(
          `select ${millis("date_trunc('milliseconds', clock_timestamp())")} as now_ms,
            ${millis("(select h.alive_at from process_heartbeats h where h.owner = $1)")} as alive_ms,
            ${millis("(select max(h.alive_at) from process_heartbeats h)")} as newest_ms`,
          [PgTypes.text(owner)]
        ).pipe(
          Effect.map(([row]) => ({
            now: new Date(row!.now_ms).toISOString(),
            aliveAt: toTime(row!.alive_ms),
            newest: toTime(row!.newest_ms)
          })),
          answered("read a heartbeat")
        ),
      now: sql.unsafe<{ readonly now_ms: number }>(
        `select ${millis("date_trunc('milliseconds', clock_timestamp())")} as now_ms`
      ).pipe(Effect.map(([row]) => new Date(row!.now_ms).toISOString()), answered("read the database's clock")),
      countsOf: (device) =>
        sql.unsafe<
          & Pick<GapCounts, "open" | "closed" | "unprovable">
          & { readonly open_ms: number | null; readonly messages_unproven: number }
        >(
          `select count(*) filter (where g.status = 'closed')::integer as closed,
            count(*) filter (where g.status = 'unprovable')::integer as unprovable,
            count(*) filter (where ${unproven("messages")})::integer as messages_unproven, o.open, o.open_ms
          from (
            select count(*)::integer as open, ${millis("min(g.opened_at)")} as open_ms
            from gaps g where g.device_id = $1 and g.status = 'open'
          ) o
          left join lateral (
            select g.status, g.closed_at, g.proven from gaps g where g.device_id = $1 order by g.id desc limit ${countMax}
          ) g on true
          group by o.open, o.open_ms`,
          [PgTypes.text(device)]
        ).pipe(
          Effect.map(([row]) => {
            const { closed, messages_unproven, open, open_ms, unprovable } = row!
            return { open, closed, unprovable, messagesUnproven: messages_unproven, openSince: toTime(open_ms) }
          }),
          answered("count gaps")
        ),
      countOpen: sql<{ cause: GapCause; count: number }>`
        select cause, count(*)::integer as count from gaps where status = 'open' group by cause
      `.pipe(
        Effect.map((rows) => Object.fromEntries(rows.map((row) => [row.cause, row.count]))),
        answered("count open gaps")
      ),
      deleteOlderThan: Effect.fn("GapRepository.deleteOlderThan")(function*(keep) {
        let count = 0
        while (true) {
          const deleted = yield* deleteStep(keep)
          count += deleted
          if (deleted < deleteRowsMax) break
        }
        yield* deleteHeartbeats(keep)
        return count
      })
    })
  })
)

const toTime = (ms: number | null): string | null => ms === null ? null : new Date(ms).toISOString()

const toGap = (row: GapRow): Gap => ({
  id: row.id as Gap["id"],
  deviceId: row.device_id as DeviceId,
  cause: row.cause as GapCause,
  status: row.status as Gap["status"],
  openedAt: new Date(row.opened_ms).toISOString(),
  endedAt: toTime(row.ended_ms),
  closedAt: toTime(row.closed_ms),
  proven: row.proven === "" ? [] : row.proven.split(",") as Array<Provable>,
  recovered: row.recovered,
  detail: row.detail
})
