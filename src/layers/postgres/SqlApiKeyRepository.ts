/** The `api_keys` table. A change signals other processes. */
import { Duration, Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { ApiKeyId, Scope } from "../../domain/ApiKey.ts"
import { ApiKeyNameTaken, ApiKeyNotFound, TooManyApiKeys } from "../../domain/ApiKeyErrors.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { ApiKeyRepository, apiKeysMax } from "../../services/ApiKeyRepository.ts"
import type { StoredApiKey } from "../../services/ApiKeyRepository.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { unavailable } from "./sqlErrors.ts"

const channel = "columba_api_keys"

interface ApiKeyRow {
  readonly id: string
  readonly name: string
  readonly digest: string
  readonly previous_digest: string | null
  readonly previous_ms: number | null
  readonly scopes: string
  readonly devices: string | null
  readonly requests_per_second: number | null
  readonly created_by: string
  readonly created_ms: number
  readonly expires_ms: number | null
  readonly rotated_ms: number | null
}

const millis = (column: string) => `(extract(epoch from ${column}) * 1000)::float8`

const columns = `id, name, digest, previous_digest, ${millis("previous_until")} as previous_ms,
  to_json(scopes)::text as scopes, to_json(devices)::text as devices, requests_per_second, created_by,
  ${millis("created_at")} as created_ms, ${millis("expires_at")} as expires_ms, ${millis("rotated_at")} as rotated_ms`

export const layer: Layer.Layer<ApiKeyRepository, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  ApiKeyRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const announce = (id: string) => signals.notify(channel, id)
    const one = (id: ApiKeyId, rows: ReadonlyArray<ApiKeyRow>) =>
      rows[0] === undefined ? Effect.fail(ApiKeyNotFound.of(id)) : Effect.succeed(toStored(rows[0]))

    return ApiKeyRepository.of({
      insert: Effect.fn("ApiKeyRepository.insert")(function*(fields) {
        const rows = yield* sql.unsafe<ApiKeyRow>(
          `insert into api_keys (id, name, digest, scopes, devices, requests_per_second, created_by, expires_at)
          select $1, $2, $3, $4::text[], $5::text[], $6, $7, $8::timestamptz
          where (select count(*) from api_keys) < $9
          on conflict (name) do nothing returning ${columns}`,
          [
            PgTypes.text(fields.id),
            PgTypes.text(fields.name),
            PgTypes.text(toHex(fields.digest)),
            [...fields.scopes],
            fields.devices === null ? null : [...fields.devices],
            PgTypes.int4(fields.requestsPerSecond),
            PgTypes.text(fields.createdBy),
            PgTypes.text(fields.expiresAt),
            PgTypes.int4(apiKeysMax)
          ]
        )
        if (rows[0] === undefined) {
          const named = yield* sql.unsafe("select id from api_keys where name = $1", [PgTypes.text(fields.name)])
          return yield* named.length > 0 ? ApiKeyNameTaken.of(fields.name) : TooManyApiKeys.of(apiKeysMax)
        }
        yield* announce(fields.id)
        return toStored(rows[0])
      }, unavailable("make a key")),
      get: (id) =>
        sql.unsafe<ApiKeyRow>(`select ${columns} from api_keys where id = $1`, [PgTypes.text(id)]).pipe(
          Effect.flatMap((rows) => one(id, rows)),
          unavailable("read a key")
        ),
      list: sql.unsafe<ApiKeyRow>(`select ${columns} from api_keys order by ordinal`).pipe(
        Effect.map((rows) => rows.map(toStored)),
        unavailable("list the keys")
      ),
      rotate: (id, digest, keep) =>
        sql.unsafe<ApiKeyRow>(
          `update api_keys set digest = $2, previous_digest = digest, rotated_at = clock_timestamp(),
            previous_until = clock_timestamp() + $3::float8 * interval '1 millisecond'
          where id = $1 returning ${columns}`,
          [PgTypes.text(id), PgTypes.text(toHex(digest)), PgTypes.float8(Duration.toMillis(keep))]
        ).pipe(
          Effect.flatMap((rows) => one(id, rows)),
          Effect.tap(() => announce(id)),
          unavailable("rotate a key")
        ),
      delete: Effect.fn("ApiKeyRepository.delete")(function*(id) {
        const gone = yield* sql.unsafe("delete from api_keys where id = $1 returning id", [PgTypes.text(id)])
        if (gone.length === 0) return yield* ApiKeyNotFound.of(id)
        yield* announce(id)
      }, unavailable("revoke a key")),
      changes: Stream.map(signals.listen(channel), () => undefined)
    })
  })
)

const toHex = (digest: Uint8Array): string => Buffer.from(digest).toString("hex")

const iso = (ms: number): string => new Date(ms).toISOString()
const isoOrNull = (ms: number | null): string | null => ms === null ? null : iso(ms)

const toStored = (row: ApiKeyRow): StoredApiKey => ({
  apiKey: {
    id: row.id as ApiKeyId,
    name: row.name,
    scopes: JSON.parse(row.scopes) as ReadonlyArray<Scope>,
    devices: row.devices === null ? null : JSON.parse(row.devices) as ReadonlyArray<DeviceId>,
    requestsPerSecond: row.requests_per_second,
    createdBy: row.created_by,
    createdAt: iso(row.created_ms),
    expiresAt: isoOrNull(row.expires_ms),
    rotatedAt: isoOrNull(row.rotated_ms),
    previousUntil: isoOrNull(row.previous_ms)
  },
  digest: Buffer.from(row.digest, "hex"),
  previousDigest: row.previous_digest === null ? null : Buffer.from(row.previous_digest, "hex")
})
