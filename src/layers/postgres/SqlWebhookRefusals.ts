/** The table `webhook_refusals`: one interval per device, until the device's process has accounted for it. */
import { Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { DeviceId } from "../../domain/Ids.ts"
import { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import type { WebhookRefusal } from "../../services/WebhookRefusals.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"

const channel = "columba_webhook_refusals"

/** Maximum number of rows per reading; the next pulse brings the rest. */
const listMax = 10_000

interface Row {
  readonly device_id: string
  readonly first_text: string
  readonly last_text: string
}

export const layer: Layer.Layer<WebhookRefusals, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  WebhookRefusals,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const answered = yield* makeAnswered
    return WebhookRefusals.of({
      report: (refusals) =>
        sql.unsafe(
          `insert into webhook_refusals as r (device_id, first_at, last_at)
          select d, clock_timestamp() - f * interval '1 millisecond', clock_timestamp() - l * interval '1 millisecond'
          from unnest($1::text[], $2::float8[], $3::float8[]) as given (d, f, l)
          on conflict (device_id) do update
            set first_at = least(r.first_at, excluded.first_at), last_at = greatest(r.last_at, excluded.last_at)`,
          [
            refusals.map(({ deviceId }) => deviceId),
            refusals.map(({ firstAgo }) => firstAgo),
            refusals.map(({ lastAgo }) => lastAgo)
          ]
        ).pipe(
          answered("record refused webhooks"),
          Effect.andThen(signals.notify(channel, ""))
        ),
      list: sql.unsafe<Row>(
        `select device_id, to_char(first_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as first_text,
          to_char(last_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as last_text
        from webhook_refusals order by device_id limit $1`,
        [PgTypes.int8(BigInt(listMax))]
      ).pipe(
        Effect.map((rows) =>
          rows.map(({ device_id, first_text, last_text }): WebhookRefusal => ({
            deviceId: device_id as DeviceId,
            firstAt: first_text,
            lastAt: last_text
          }))
        ),
        answered("read refused webhooks")
      ),
      remove: (refusals) =>
        sql.unsafe(
          `delete from webhook_refusals r using unnest($1::text[], $2::text[]) as given (d, l)
          where r.device_id = given.d and r.last_at <= given.l::timestamptz`,
          [refusals.map(({ deviceId }) => deviceId), refusals.map(({ lastAt }) => lastAt)]
        ).pipe(answered("forget webhooks that are accounted for"), Effect.asVoid),
      changes: Stream.map(signals.listen(channel), () => undefined)
    })
  })
)
