/** The `subscriptions` table, its cursors and its delivery log. A change of a subscription's settings signals other processes. */
import { Duration, Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { DeviceId, EventId } from "../../domain/Ids.ts"
import { noHealth } from "../../domain/Subscription.ts"
import type {
  Delivery,
  DeliveryOutcome,
  DisabledReason,
  SubscriptionHealth,
  SubscriptionId
} from "../../domain/Subscription.ts"
import { SubscriptionNotFound, TooManySubscriptions } from "../../domain/SubscriptionErrors.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"
import { formatCursorName, SubscriptionRepository, subscriptionsMax } from "../../services/SubscriptionRepository.ts"
import type {
  SealedSubscription,
  StoredSubscription,
  SubscriptionChange
} from "../../services/SubscriptionRepository.ts"
import { unconfirmedKeepMax } from "../../services/subscriptionBounds.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { headSql } from "./eventReads.ts"
import { makeAnswered } from "./Migrations.ts"
import { nextEpoch } from "./nextEpoch.ts"

const channel = "columba_subscriptions"

interface SubscriptionRow {
  readonly id: string
  readonly name: string | null
  readonly url: string
  readonly kinds: string | null
  readonly devices: string | null
  readonly headers: string
  readonly rate_limit: number | null
  readonly sealed: string
  readonly previous_ms: number | null
  readonly paused: boolean
  readonly disabled_ms: number | null
  readonly disabled_reason: string | null
  readonly enabled_times: number
  readonly revision: number
  readonly health: string
  readonly created_ms: number
  readonly updated_ms: number
  readonly confirmed: number
}

const millis = (column: string) => `(extract(epoch from s.${column}) * 1000)::float8`

const columns = `s.id, s.name, s.url, to_json(s.kinds)::text as kinds, to_json(s.devices)::text as devices,
  to_json(s.headers)::text as headers, s.rate_limit, s.sealed::text as sealed,
  ${millis("previous_secret_until")} as previous_ms, s.paused, ${millis("disabled_at")} as disabled_ms,
  s.disabled_reason, s.enabled_times, s.revision, s.health::text as health,
  ${millis("created_at")} as created_ms, ${millis("updated_at")} as updated_ms,
  coalesce(c.seq, 0)::float8 as confirmed`

const withCursor = "left join sink_cursors c on c.sink = 'webhook:' || s.id"

/** Statements that change one row return it with its cursor. */
const changed = (assignments: string) =>
  `with s as (
    update subscriptions set ${assignments}, updated_at = clock_timestamp() where id = $1 returning *
  ) select ${columns} from s ${withCursor}`

interface DeliveryRowText {
  readonly ordinal: number
  readonly event_id: string
  readonly seq: number
  readonly kind: string
  readonly device_id: string
  readonly attempt: number
  readonly at_ms: number
  readonly outcome: string
  readonly status: number | null
  readonly millis: number
  readonly detail: string | null
  readonly abandoned: boolean
}

export const layer: Layer.Layer<SubscriptionRepository, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  SubscriptionRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const answered = yield* makeAnswered
    const announce = (id: string) => signals.notify(channel, id)

    const one = (id: SubscriptionId, rows: ReadonlyArray<SubscriptionRow>) =>
      rows[0] === undefined ? Effect.fail(SubscriptionNotFound.of(id)) : Effect.succeed(toStored(rows[0]))

    const change = (id: SubscriptionId, statement: string, parameters: ReadonlyArray<unknown>) =>
      sql.unsafe<SubscriptionRow>(statement, [PgTypes.text(id), ...parameters]).pipe(
        Effect.flatMap((rows) => one(id, rows)),
        Effect.tap(() => announce(id)),
        answered("change a subscription")
      )

    const get = (id: SubscriptionId) =>
      sql.unsafe<SubscriptionRow>(`select ${columns} from subscriptions s ${withCursor} where s.id = $1`, [
        PgTypes.text(id)
      ]).pipe(Effect.flatMap((rows) => one(id, rows)), answered("read a subscription"))

    return SubscriptionRepository.of({
      insert: Effect.fn("SubscriptionRepository.insert")(function*(fields, from) {
        const rows = yield* sql.unsafe<SubscriptionRow>(
          `with s as (
            insert into subscriptions (id, name, url, kinds, devices, headers, rate_limit, sealed, health)
            select $1, $2, $3, $4::text[], $5::text[], $6::text[], $7, $8::text::json, $9::text::json
            where (select count(*) from subscriptions) < $10
            returning *
          ), c as (
            insert into sink_cursors (sink, epoch, seq, keep)
            select 'webhook:' || s.id, 0, case $11 when 'now' then ${headSql} else l.oldest - 1 end,
              $12::float8 * interval '1 millisecond' from s, log_identity l
            returning sink, seq
          ) select ${columns} from s left join c on c.sink = 'webhook:' || s.id`,
          [
            PgTypes.text(fields.id),
            PgTypes.text(fields.name),
            PgTypes.text(fields.url),
            fields.kinds === null ? null : [...fields.kinds],
            fields.devices === null ? null : [...fields.devices],
            [...fields.headers],
            PgTypes.int4(fields.rateLimit),
            PgTypes.text(JSON.stringify(fields.sealed)),
            PgTypes.text(JSON.stringify(noHealth)),
            PgTypes.int4(subscriptionsMax),
            PgTypes.text(from),
            PgTypes.float8(Duration.toMillis(unconfirmedKeepMax))
          ]
        )
        if (rows[0] === undefined) return yield* TooManySubscriptions.of(subscriptionsMax)
        yield* announce(fields.id)
        return toStored(rows[0])
      }, answered("add a subscription")),
      get,
      list: sql.unsafe<SubscriptionRow>(`select ${columns} from subscriptions s ${withCursor} order by s.ordinal`).pipe(
        Effect.map((rows) => rows.map(toStored)),
        answered("list the subscriptions")
      ),
      update: (id, wanted) => change(id, changed(updateAssignments), updateParameters(wanted)),
      delete: Effect.fn("SubscriptionRepository.delete")(function*(id) {
        const gone = yield* sql.unsafe(
          `with gone as (delete from subscriptions where id = $1 returning id),
            cursor as (delete from sink_cursors where sink in (select 'webhook:' || id from gone))
          select id from gone`,
          [PgTypes.text(id)]
        )
        if (gone.length === 0) return yield* SubscriptionNotFound.of(id)
        yield* announce(id)
      }, answered("remove a subscription")),
      enable: (id) =>
        change(
          id,
          changed(
            `disabled_at = null, disabled_reason = null,
            enabled_times = enabled_times + case when disabled_at is null then 0 else 1 end,
            health = jsonb_set(health::jsonb, '{failing}', 'null')::json, revision = revision + 1`
          ),
          []
        ),
      moveTo: (id, seq) =>
        change(
          id,
          `with moved as (
            update sink_cursors set seq = $2::float8, epoch = ${nextEpoch("epoch", "clock_timestamp()")}
            where sink = 'webhook:' || $1 returning sink, seq
          ), s as (
            update subscriptions set health = jsonb_set(health::jsonb, '{held}', '[]')::json,
              revision = revision + 1, updated_at = clock_timestamp()
            where id = $1 returning *
          ) select ${columns} from s left join moved c on c.sink = 'webhook:' || s.id`,
          [PgTypes.float8(seq)]
        ),
      saveHealth: (id, epoch, health) =>
        sql.unsafe(
          `update subscriptions set health = $2::text::json where id = $1
            and exists (select from sink_cursors c where c.sink = $3 and c.epoch = $4) returning id`,
          [
            PgTypes.text(id),
            PgTypes.text(JSON.stringify(health)),
            PgTypes.text(formatCursorName(id)),
            PgTypes.int4(epoch)
          ]
        ).pipe(Effect.map((rows) => rows.length > 0), answered("record how a subscription is")),
      disable: Effect.fn("SubscriptionRepository.disable")(function*(id, epoch, reason) {
        const rows = yield* sql.unsafe(
          `update subscriptions set disabled_at = clock_timestamp(), disabled_reason = $2, revision = revision + 1
          where id = $1 and disabled_at is null
            and exists (select from sink_cursors c where c.sink = $3 and c.epoch = $4) returning id`,
          [PgTypes.text(id), PgTypes.text(reason), PgTypes.text(formatCursorName(id)), PgTypes.int4(epoch)]
        )
        if (rows.length > 0) yield* announce(id)
        return rows.length > 0
      }, answered("disable a subscription")),
      recordDeliveries: (rows) =>
        sql.unsafe(
          `insert into subscription_deliveries
            (subscription, event_id, seq, kind, device_id, attempt, at, outcome, status, millis, detail, abandoned)
          select s.id, r."eventId", r.seq, r.kind, r."deviceId", r.attempt, r.at, r.outcome, r.status, r.millis, r.detail,
            r.abandoned
          from json_to_recordset($1::text::json) as r ("subscriptionId" text, "eventId" uuid, seq bigint, kind text,
            "deviceId" text, attempt integer, at timestamptz, outcome text, status integer, millis integer, detail text,
            abandoned boolean, n integer)
          join subscriptions s on s.id = r."subscriptionId" order by r.n`,
          [PgTypes.text(JSON.stringify(rows.map((row, n) => ({ ...row, n }))))]
        ).pipe(Effect.asVoid, answered("record deliveries")),
      deliveries: Effect.fn("SubscriptionRepository.deliveries")(function*(id, options) {
        const before = options.cursor === undefined ? null : yield* decodeCursor(options.cursor, seqPattern)
        const limit = pageLimit(options.limit)
        yield* get(id)
        const rows = yield* sql.unsafe<DeliveryRowText>(
          `select ordinal::float8 as ordinal, event_id::text as event_id, seq::float8 as seq, kind, device_id, attempt,
            (extract(epoch from at) * 1000)::float8 as at_ms, outcome, status, millis, detail, abandoned
          from subscription_deliveries
          where subscription = $1 and ($3::float8 is null or ordinal < $3::float8) and ($4::text is null or outcome = $4)
          order by ordinal desc limit $2`,
          [
            PgTypes.text(id),
            PgTypes.int8(BigInt(limit + 1)),
            PgTypes.float8(before === null ? null : Number(before)),
            PgTypes.text(options.outcome ?? null)
          ]
        )
        const items = rows.slice(0, limit)
        return {
          items: items.map(toDelivery),
          next: rows.length > limit ? encodeCursor(String(items[limit - 1]!.ordinal)) : null
        }
      }, answered("list deliveries")),
      deleteDeliveries: (each, keep) =>
        sql.unsafe<{ count: number }>(
          `with kept as (
            select s.id, greatest(
              (select o.ordinal from subscription_deliveries o where o.subscription = s.id
                order by o.ordinal desc offset $1 limit 1),
              (select max(o.ordinal) from subscription_deliveries o where o.subscription = s.id
                and o.at < clock_timestamp() - $2::float8 * interval '1 millisecond')
            ) as upto from subscriptions s
          ), gone as (
            delete from subscription_deliveries d using kept
            where d.subscription = kept.id and d.ordinal <= kept.upto returning d.ordinal
          ) select count(*)::integer as count from gone`,
          [PgTypes.int8(BigInt(each)), PgTypes.float8(Duration.toMillis(keep))]
        ).pipe(Effect.map((rows) => rows[0]!.count), answered("delete old deliveries")),
      changes: Stream.map(signals.listen(channel), () => undefined)
    })
  })
)

/** A flag indicates whether a column that may become null is given. */
const updateAssignments = `
  name = case when $2 then $3 else name end,
  url = coalesce($4, url),
  kinds = case when $5 then $6::text[] else kinds end,
  devices = case when $7 then $8::text[] else devices end,
  headers = coalesce($9::text[], headers),
  rate_limit = case when $10 then $11 else rate_limit end,
  sealed = coalesce($12::text::json, sealed),
  previous_secret_until = case when $13::float8 is null then previous_secret_until
    else clock_timestamp() + $13::float8 * interval '1 millisecond' end,
  paused = coalesce($14, paused),
  revision = revision + 1`

const updateParameters = (change: SubscriptionChange) => [
  PgTypes.bool(change.name !== undefined),
  PgTypes.text(change.name ?? null),
  PgTypes.text(change.url ?? null),
  PgTypes.bool(change.kinds !== undefined),
  change.kinds === undefined || change.kinds === null ? null : [...change.kinds],
  PgTypes.bool(change.devices !== undefined),
  change.devices === undefined || change.devices === null ? null : [...change.devices],
  change.headers === undefined ? null : [...change.headers],
  PgTypes.bool(change.rateLimit !== undefined),
  PgTypes.int4(change.rateLimit ?? null),
  PgTypes.text(change.sealed === undefined ? null : JSON.stringify(change.sealed)),
  PgTypes.float8(change.previousSecretFor === undefined ? null : Duration.toMillis(change.previousSecretFor)),
  PgTypes.bool(change.paused ?? null)
]

const iso = (ms: number): string => new Date(ms).toISOString()

const toStored = (row: SubscriptionRow): StoredSubscription => ({
  subscription: {
    id: row.id as SubscriptionId,
    name: row.name,
    url: row.url,
    kinds: row.kinds === null ? null : JSON.parse(row.kinds) as ReadonlyArray<string>,
    devices: row.devices === null ? null : JSON.parse(row.devices) as ReadonlyArray<DeviceId>,
    headers: JSON.parse(row.headers) as ReadonlyArray<string>,
    rateLimit: row.rate_limit,
    state: row.disabled_ms !== null ? "disabled" : row.paused ? "paused" : "active",
    disabled: row.disabled_ms === null
      ? null
      : { at: iso(row.disabled_ms), reason: row.disabled_reason as DisabledReason },
    previousSecretUntil: row.previous_ms === null ? null : iso(row.previous_ms),
    health: JSON.parse(row.health) as SubscriptionHealth,
    createdAt: iso(row.created_ms),
    updatedAt: iso(row.updated_ms)
  },
  confirmed: row.confirmed,
  sealed: JSON.parse(row.sealed) as SealedSubscription,
  revision: row.revision,
  enabledTimes: row.enabled_times
})

const toDelivery = (row: DeliveryRowText): Delivery => ({
  eventId: row.event_id as EventId,
  seq: row.seq,
  kind: row.kind,
  deviceId: row.device_id as DeviceId,
  attempt: row.attempt,
  at: iso(row.at_ms),
  outcome: row.outcome as DeliveryOutcome,
  status: row.status,
  millis: row.millis,
  detail: row.detail,
  abandoned: row.abandoned
})
