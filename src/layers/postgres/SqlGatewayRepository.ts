/** The `gateways` table. Every change signals other processes. */
import { Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayDialect, GatewaySecretName, GatewaySource } from "../../domain/Gateway.ts"
import { GatewayInUse, GatewayNameTaken, GatewayNotFound } from "../../domain/GatewayErrors.ts"
import type { GatewayName } from "../../domain/Ids.ts"
import { GatewayRepository } from "../../services/GatewayRepository.ts"
import type { GatewayFields, SealedSecrets, StoredGateway } from "../../services/GatewayRepository.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"

const channel = "columba_gateways"

/** Gateways are servers with operators; a thousand is far beyond any installation. */
const rowsMax = 1000

interface GatewayRow {
  readonly name: string
  readonly dialect: string
  readonly url: string
  readonly basic_user: string | null
  readonly sealed: string
  readonly source: string
  readonly active: boolean
  readonly revision: number
  readonly created_ms: number
  readonly updated_ms: number
}

const columns = `name, dialect, url, basic_user, sealed::text as sealed, source, active, revision,
  (extract(epoch from created_at) * 1000)::float8 as created_ms,
  (extract(epoch from updated_at) * 1000)::float8 as updated_ms`

export const layer: Layer.Layer<GatewayRepository, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  GatewayRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered
    const signals = yield* DatabaseSignals
    const announce = (name: string) => signals.notify(channel, name)

    const get = Effect.fn("GatewayRepository.get")(function*(name: GatewayName) {
      const rows = yield* sql.unsafe<GatewayRow>(`select ${columns} from gateways where name = $1`, [
        PgTypes.text(name)
      ])
      return rows[0] === undefined ? yield* GatewayNotFound.of(name) : toStored(rows[0])
    }, answered("read a gateway"))

    return GatewayRepository.of({
      insert: (fields) =>
        sql.unsafe<GatewayRow>(`${insertInto} returning ${columns}`, toParameters(fields)).pipe(
          Effect.tap(() => announce(fields.name)),
          Effect.map((rows) => toStored(rows[0]!)),
          Effect.catch((error) => insertFailure(error, fields.name))
        ),
      upsert: (fields) =>
        sql.unsafe<GatewayRow>(
          `${insertInto} on conflict (name) do update set dialect = excluded.dialect, url = excluded.url,
            basic_user = excluded.basic_user, sealed = excluded.sealed, source = excluded.source,
            revision = gateways.revision + 1, updated_at = clock_timestamp()
          where (gateways.dialect, gateways.url, gateways.basic_user, gateways.sealed::text, gateways.source)
            is distinct from
            (excluded.dialect, excluded.url, excluded.basic_user, excluded.sealed::text, excluded.source)
          returning ${columns}`,
          toParameters(fields)
        ).pipe(
          Effect.flatMap((rows) =>
            rows[0] === undefined
              ? Effect.orDie(get(fields.name))
              : Effect.as(announce(fields.name), toStored(rows[0]))
          ),
          answered("store a gateway")
        ),
      get,
      list: sql.unsafe<GatewayRow>(`select ${columns} from gateways order by name limit ${rowsMax}`).pipe(
        Effect.map((rows) => rows.map(toStored)),
        answered("list the gateways")
      ),
      update: Effect.fn("GatewayRepository.update")(function*(name, change) {
        const rows = yield* sql.unsafe<GatewayRow>(
          `update gateways set
            url = coalesce($2, url),
            basic_user = case when $3 then $4 else basic_user end,
            sealed = coalesce($5::text::json, sealed),
            active = coalesce($6, active),
            revision = revision + 1, updated_at = clock_timestamp()
          where name = $1 returning ${columns}`,
          [
            PgTypes.text(name),
            PgTypes.text(change.url ?? null),
            PgTypes.bool(change.user !== undefined),
            PgTypes.text(change.user ?? null),
            PgTypes.text(change.sealed === undefined ? null : JSON.stringify(change.sealed)),
            PgTypes.bool(change.active ?? null)
          ]
        )
        if (rows[0] === undefined) return yield* GatewayNotFound.of(name)
        yield* announce(name)
        return toStored(rows[0])
      }, answered("change a gateway")),
      delete: Effect.fn("GatewayRepository.delete")(function*(name) {
        const gone = yield* sql.unsafe(
          `delete from gateways where name = $1
            and not exists (select from devices where gateway = $1 and active) returning name`,
          [PgTypes.text(name)]
        )
        if (gone.length > 0) return yield* announce(name)
        yield* get(name)
        const counted = yield* sql.unsafe<{ count: number }>(
          "select count(*)::integer as count from devices where gateway = $1 and active",
          [PgTypes.text(name)]
        )
        return yield* GatewayInUse.of(name, counted[0]!.count)
      }, answered("remove a gateway")),
      changes: Stream.map(signals.listen(channel), () => undefined)
    })
  })
)

const insertInto = `insert into gateways (name, dialect, url, basic_user, sealed, source)
  values ($1, $2, $3, $4, $5::text::json, $6)`

const toParameters = (fields: GatewayFields) => [
  PgTypes.text(fields.name),
  PgTypes.text(fields.dialect),
  PgTypes.text(fields.url),
  PgTypes.text(fields.user),
  PgTypes.text(JSON.stringify(fields.sealed)),
  PgTypes.text(fields.source)
]

const insertFailure = (
  error: SqlError.SqlError,
  name: GatewayName
): Effect.Effect<never, GatewayNameTaken | StorageUnavailable> =>
  error.reason._tag === "UniqueViolation" && error.reason.constraint === "gateways_pkey"
    ? Effect.fail(GatewayNameTaken.of(name))
    : Effect.fail(StorageUnavailable.of("add a gateway"))

const toStored = (row: GatewayRow): StoredGateway => {
  const sealed = JSON.parse(row.sealed) as SealedSecrets
  return {
    gateway: {
      name: row.name as GatewayName,
      dialect: row.dialect as GatewayDialect,
      url: row.url,
      user: row.basic_user,
      secrets: Object.keys(sealed).sort() as Array<GatewaySecretName>,
      source: row.source as GatewaySource,
      active: row.active,
      createdAt: new Date(row.created_ms).toISOString(),
      updatedAt: new Date(row.updated_ms).toISOString()
    },
    sealed,
    revision: row.revision
  }
}
