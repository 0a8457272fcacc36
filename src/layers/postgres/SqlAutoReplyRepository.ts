/** The table `auto_replies`, and its answers among the rows of `sends`. */
import { Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import { autoReplyDefaults } from "../../domain/AutoReply.ts"
import type { AutoReply } from "../../domain/AutoReply.ts"
import { DeviceNotFound } from "../../domain/DeviceErrors.ts"
import { dailyLimitMax } from "../../domain/AutoReply.ts"
import type { DeviceId } from "../../domain/Ids.ts"
import { AutoReplyRepository } from "../../services/AutoReplyRepository.ts"
import { makeAnswered } from "./Migrations.ts"

interface Row {
  readonly device_id: string
  readonly enabled: boolean | null
  readonly prompt: string
  readonly history: number
  readonly daily_limit: number
  readonly updated_ms: number
}

const columns = `enabled, prompt, history, daily_limit, (extract(epoch from a.updated_at) * 1000)::float8 as updated_ms`

export const layer: Layer.Layer<AutoReplyRepository, never, SqlClient.SqlClient> = Layer.effect(
  AutoReplyRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered
    const one = (device: DeviceId, rows: ReadonlyArray<Row>) =>
      rows[0] === undefined ? Effect.fail(DeviceNotFound.of(device)) : Effect.succeed(toAutoReply(device, rows[0]))
    return AutoReplyRepository.of({
      get: (device) =>
        sql.unsafe<Row>(
          `select d.id as device_id, ${columns} from devices d left join auto_replies a on a.device_id = d.id
          where d.id = $1`,
          [PgTypes.text(device)]
        ).pipe(Effect.flatMap((rows) => one(device, rows)), answered("read how a device answers")),
      edit: (device, { dailyLimit, enabled, prompt, window }) => {
        const initial = autoReplyDefaults(device)
        return sql.unsafe<Row>(
          `insert into auto_replies as a (device_id, enabled, prompt, history, daily_limit, updated_at)
          select d.id, coalesce($2::boolean, $6), coalesce($3::text, $7), coalesce($4::int, $8), coalesce($5::int, $9),
            clock_timestamp()
          from devices d where d.id = $1
          on conflict (device_id) do update set enabled = coalesce($2, a.enabled), prompt = coalesce($3, a.prompt),
            history = coalesce($4, a.history), daily_limit = coalesce($5, a.daily_limit), updated_at = clock_timestamp()
          returning a.device_id, ${columns}`,
          [
            PgTypes.text(device),
            PgTypes.bool(enabled ?? null),
            PgTypes.text(prompt?.replaceAll("\0", "") ?? null),
            PgTypes.int4(window ?? null),
            PgTypes.int4(dailyLimit ?? null),
            PgTypes.bool(initial.enabled),
            PgTypes.text(initial.prompt),
            PgTypes.int4(initial.window),
            PgTypes.int4(initial.dailyLimit)
          ]
        ).pipe(Effect.flatMap((rows) => one(device, rows)), answered("change how a device answers"))
      },
      answers: (device, chat) =>
        sql.unsafe<{ ago: number }>(
          `select (extract(epoch from clock_timestamp() - created_at) * 1000)::float8 as ago from sends
          where device_id = $1 and chat = $2 and idempotency_key like 'auto-reply:%'
            and created_at > clock_timestamp() - interval '24 hours'
          order by created_at desc limit $3`,
          [PgTypes.text(device), PgTypes.text(chat), PgTypes.int8(BigInt(dailyLimitMax))]
        ).pipe(Effect.map((rows) => rows.map(({ ago }) => ago)), answered("read what was answered")),
      lock: (device, chat) =>
        sql.unsafe(`select pg_advisory_xact_lock(hashtextextended($1, 0))`, [
          PgTypes.text(`columba auto-reply ${device} ${chat}`)
        ]).pipe(Effect.asVoid, answered("answer one chat at a time"))
    })
  })
)

const toAutoReply = (deviceId: DeviceId, row: Row): AutoReply =>
  row.enabled === null ? autoReplyDefaults(deviceId) : {
    deviceId,
    enabled: row.enabled,
    prompt: row.prompt,
    window: row.history,
    dailyLimit: row.daily_limit,
    updatedAt: new Date(row.updated_ms).toISOString()
  }
