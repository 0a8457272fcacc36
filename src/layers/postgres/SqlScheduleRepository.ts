/** The table `schedules`, and the messages of its occurrences. */
import { Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import { TooManySchedules } from "../../domain/ScheduleErrors.ts"
import { ScheduleId } from "../../domain/Schedule.ts"
import type { ScheduleEndReason } from "../../domain/Schedule.ts"
import type { OnUnknown, SendBody } from "../../domain/Send.ts"
import { IdempotencyKeyReused } from "../../domain/SendErrors.ts"
import { decodeCursor, encodeCursor, pageLimit, seqPattern } from "../../services/pageCursor.ts"
import { dueMax, ScheduleRepository, schedulesMax } from "../../services/ScheduleRepository.ts"
import type { Idempotency, StoredSchedule } from "../../services/ScheduleRepository.ts"
import { idempotencyHours } from "../../services/SendRepository.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"
import { toTime } from "./sendRows.ts"
import { headSql } from "./eventReads.ts"
import { sendsChannel } from "./SqlSendRepository.ts"

const channel = "columba_schedules"

const now = "date_trunc('milliseconds', clock_timestamp())"

interface ScheduleRow {
  readonly id: string
  readonly device_id: string
  readonly chat: string
  readonly content: string | null
  readonly on_unknown: string
  readonly cron: string
  readonly zone: string
  readonly grace_seconds: number
  readonly paused: boolean
  readonly revision: number
  readonly next_id: string | null
  readonly last_id: string | null
  readonly skipped: number
  readonly end_reason: string | null
  readonly until_ms: number | null
  readonly next_ms: number | null
  readonly last_ms: number | null
  readonly ended_ms: number | null
  readonly created_ms: number
  readonly updated_ms: number
  readonly ordinal: number
}

const millis = (column: string, name: string): string =>
  `(extract(epoch from c.${column}) * 1000)::float8 as ${name}_ms`

const columns = `c.id, c.device_id, c.chat, c.content::text as content, c.on_unknown, c.cron, c.zone, c.grace_seconds,
  c.paused, c.revision, c.next_id, c.last_id, c.skipped, c.end_reason, ${millis("until", "until")},
  ${millis("next_at", "next")}, ${millis("last_at", "last")}, ${millis("ended_at", "ended")},
  ${millis("created_at", "created")}, ${millis("updated_at", "updated")}, c.ordinal::float8 as ordinal`

const toSchedule = (row: ScheduleRow): StoredSchedule => ({
  id: row.id as ScheduleId,
  deviceId: row.device_id as DeviceId,
  chat: row.chat,
  body: row.content === null ? null : JSON.parse(row.content) as SendBody,
  onUnknown: row.on_unknown as OnUnknown,
  cron: row.cron,
  zone: row.zone,
  until: toTime(row.until_ms),
  graceSeconds: row.grace_seconds,
  paused: row.paused,
  revision: row.revision,
  nextAt: toTime(row.next_ms),
  nextId: row.next_id as MessageId | null,
  lastAt: toTime(row.last_ms),
  lastId: row.last_id as MessageId | null,
  skipped: row.skipped,
  endedAt: toTime(row.ended_ms),
  endReason: row.end_reason as ScheduleEndReason | null,
  createdAt: new Date(row.created_ms).toISOString(),
  updatedAt: new Date(row.updated_ms).toISOString()
})

/** Withdraws the waiting messages of the schedules that the part `from` selects, as they were before it. */
const withdrawn = (from: string) =>
  `withdrawn as (
    update sends s set state = 'cancelled', untold = true, updated_at = ${now}
    from ${from} f where s.id in (f.next_id, f.last_id) and s.state in ('pending', 'scheduled') returning s.id
  )`

/** The time before which idempotency keys have expired. */
const keysFrom = `clock_timestamp() - interval '${idempotencyHours} hours'`

/** Maximum number of expired keys that each insertion deletes: more than it adds. */
const oldKeysMax = 100

/** The schedule, unless its key already stands for one. Of two concurrent requests the second waits for the first. */
const insertStatement = `with n as (select ${now} as now), keyed as (
    insert into schedule_keys as k (device_id, key, digest, schedule_id, created_at)
    select $2, $11, $12::uuid, $1, n.now from n
    where $11::text is not null and (select count(*) from schedules) < ${schedulesMax}
    on conflict (device_id, key) do update set digest = excluded.digest, schedule_id = excluded.schedule_id,
      created_at = excluded.created_at
    where k.created_at < ${keysFrom} returning 1
  ), gone as (
    delete from schedule_keys where (device_id, key) in (
      select o.device_id, o.key from schedule_keys o
      where o.created_at < ${keysFrom} and (o.device_id, o.key) is distinct from ($2::text, $11::text)
      limit ${oldKeysMax} for update skip locked
    )
  )
  insert into schedules as c (id, device_id, chat, content, on_unknown, cron, zone, until, grace_seconds, paused,
    created_at, updated_at)
  select $1, $2, $3, $4::json, $5, $6, $7, $8::timestamptz, $9, $10, n.now, n.now from n
  where (select count(*) from schedules) < ${schedulesMax} and ($11::text is null or exists (select from keyed))
  returning ${columns}`

const advanceStatement = `with moved as (
    update schedules c set next_at = $4::timestamptz, next_id = $5, last_at = c.next_at, last_id = c.next_id,
      skipped = c.skipped + $6, end_reason = $7, ended_at = case when $7::text is null then null else ${now} end,
      -- The first occurrence belongs to the creation, or to the change that planned anew.
      updated_at = case when c.next_at is null then c.updated_at else ${now} end
    where c.id = $1 and c.revision = $2 and c.next_at is not distinct from $3::timestamptz and c.ended_at is null
      and not c.paused returning c.*
  ), superseded as (
    update sends s set state = 'expired', reason = 'expired', untold = true, updated_at = ${now},
      detail = 'the next occurrence of its schedule came first'
    from moved m where s.state in ('pending', 'scheduled')
      and (s.id = $8 or (s.id = m.last_id and m.next_at <= clock_timestamp())) returning s.id
  ), made as (
    insert into sends as s (id, device_id, chat, sender, content, state, on_unknown, head, scheduled_at, due_at, expires_at,
      created_at, updated_at)
    select m.next_id, m.device_id, m.chat, coalesce(d.jid, ''), m.content,
      case when m.next_at > n.now then 'scheduled' else 'pending' end, m.on_unknown, ${headSql}, m.next_at, m.next_at,
      m.next_at + m.grace_seconds * interval '1 second', n.now, n.now
    from moved m join devices d on d.id = m.device_id cross join (select ${now} as now) n
    where m.next_id is not null on conflict (id) do nothing returning s.device_id
  )
  select m.device_id from moved m`

export const layer: Layer.Layer<ScheduleRepository, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  ScheduleRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const answered = yield* makeAnswered
    const announce = signals.notify(channel, "")

    const rows = (statement: string, parameters: ReadonlyArray<unknown>) =>
      Effect.map(sql.unsafe<ScheduleRow>(statement, parameters), (found) => found.map(toSchedule))

    const findKey = Effect.fnUntraced(function*(device: DeviceId, { digest, key }: Idempotency) {
      const [known] = yield* sql.unsafe<
        { readonly schedule_id: string; readonly created_ms: number; readonly same: boolean }
      >(
        `select schedule_id, (extract(epoch from created_at) * 1000)::float8 as created_ms, digest = $3::uuid as same
        from schedule_keys where device_id = $1 and key = $2 and created_at >= ${keysFrom}`,
        [PgTypes.text(device), PgTypes.text(key), PgTypes.text(digest)]
      )
      if (known === undefined) return null
      if (!known.same) return yield* IdempotencyKeyReused.of()
      return { id: ScheduleId.make(known.schedule_id), createdAt: new Date(known.created_ms).toISOString() }
    })

    return ScheduleRepository.of({
      insert: Effect.fn("ScheduleRepository.insert")(function*(schedule, idempotency) {
        const [stored] = yield* rows(insertStatement, [
          PgTypes.text(schedule.id),
          PgTypes.text(schedule.deviceId),
          PgTypes.text(schedule.chat),
          PgTypes.text(JSON.stringify(schedule.body)),
          PgTypes.text(schedule.onUnknown),
          PgTypes.text(schedule.cron),
          PgTypes.text(schedule.zone),
          PgTypes.text(schedule.until),
          PgTypes.int4(schedule.graceSeconds),
          PgTypes.bool(schedule.paused),
          PgTypes.text(idempotency?.key ?? null),
          PgTypes.text(idempotency?.digest ?? null)
        ])
        if (stored !== undefined) {
          yield* announce
          return { _tag: "New" as const, schedule: stored }
        }
        const known = idempotency === undefined ? null : yield* findKey(schedule.deviceId, idempotency)
        return known === null ? yield* TooManySchedules.of(schedulesMax) : { _tag: "Repeated" as const, known }
      }, answered("store a schedule")),
      repeated: (device, idempotency) => answered("look for a repeated request")(findKey(device, idempotency)),
      get: (id, visible) =>
        rows(
          `select ${columns} from schedules c where c.id = $1 and ($2::text[] is null or c.device_id = any ($2))`,
          [PgTypes.text(id), visible === undefined ? null : [...visible]]
        ).pipe(Effect.map(([found]) => found ?? null), answered("read a schedule")),
      list: Effect.fn("ScheduleRepository.list")(function*({ cursor, device, limit: wanted, visible }) {
        const after = cursor === undefined ? "0" : yield* decodeCursor(cursor, seqPattern)
        const limit = pageLimit(wanted)
        const found = yield* sql.unsafe<ScheduleRow>(
          `select ${columns} from schedules c
          where c.ordinal > $2 and ($3::text is null or c.device_id = $3) and ($4::text[] is null or c.device_id = any ($4))
          order by c.ordinal limit $1`,
          [
            PgTypes.int8(BigInt(limit + 1)),
            PgTypes.int8(BigInt(after)),
            PgTypes.text(device ?? null),
            visible === undefined ? null : [...visible]
          ]
        )
        const items = found.slice(0, limit)
        return {
          items: items.map(toSchedule),
          next: found.length > limit ? encodeCursor(String(items[limit - 1]!.ordinal)) : null
        }
      }, answered("list schedules")),
      edit: Effect.fn("ScheduleRepository.edit")(function*(id, change) {
        const [changed] = yield* rows(
          `with before as (select * from schedules where id = $1 and ended_at is null for update), ${
            withdrawn("before")
          }
          update schedules c set chat = coalesce($2, c.chat), content = coalesce($3::json, c.content),
            on_unknown = coalesce($4, c.on_unknown), cron = coalesce($5, c.cron), zone = coalesce($6, c.zone),
            until = case when $7 then $8::timestamptz else c.until end, grace_seconds = coalesce($9, c.grace_seconds),
            paused = coalesce($10, c.paused), revision = c.revision + 1, next_at = null, next_id = null,
            updated_at = ${now}
          from before b where c.id = b.id returning ${columns}`,
          [
            PgTypes.text(id),
            PgTypes.text(change.chat ?? null),
            PgTypes.text(change.body === undefined ? null : JSON.stringify(change.body)),
            PgTypes.text(change.onUnknown ?? null),
            PgTypes.text(change.cron ?? null),
            PgTypes.text(change.zone ?? null),
            PgTypes.bool(change.until !== undefined),
            PgTypes.text(change.until ?? null),
            PgTypes.int4(change.graceSeconds ?? null),
            PgTypes.bool(change.paused ?? null)
          ]
        )
        if (changed !== undefined) yield* announce
        return changed ?? null
      }, answered("change a schedule")),
      remove: (id) =>
        sql.unsafe(
          `with before as (delete from schedules where id = $1 returning *), ${withdrawn("before")} select 1`,
          [PgTypes.text(id)]
        ).pipe(Effect.asVoid, answered("delete a schedule")),
      advance: Effect.fnUntraced(function*({ end, next, schedule, skipped }) {
        const moved = yield* sql.unsafe<{ readonly device_id: string }>(advanceStatement, [
          PgTypes.text(schedule.id),
          PgTypes.int4(schedule.revision),
          PgTypes.text(schedule.nextAt),
          PgTypes.text(next === null ? null : new Date(next.at).toISOString()),
          PgTypes.text(next?.id ?? null),
          PgTypes.int4(skipped),
          PgTypes.text(end),
          PgTypes.text(schedule.lastId)
        ])
        // The process that runs the device looks for due messages itself while it has anything scheduled.
        if (moved.length > 0 && next !== null) yield* signals.notify(sendsChannel, schedule.deviceId)
        return moved.length > 0
      }, answered("plan the next occurrence of a schedule")),
      endInactive: sql.unsafe<{ readonly id: string }>(
        `with before as (
          select c.* from schedules c join devices d on d.id = c.device_id where c.ended_at is null and not d.active
          for update of c skip locked
        ), ${withdrawn("before")}
        update schedules c set ended_at = ${now}, end_reason = 'device-deactivated', next_at = null, next_id = null,
          updated_at = ${now}
        from before b where c.id = b.id returning c.id`
      ).pipe(Effect.map((ended) => ended.length), answered("end the schedules of deactivated devices")),
      due: Effect.gen(function*() {
        const due = yield* rows(
          `select ${columns} from schedules c
          where c.ended_at is null and not c.paused and (c.next_at is null or c.next_at <= clock_timestamp())
          order by c.next_at nulls first limit ${dueMax}`,
          []
        )
        const [clock] = yield* sql.unsafe<{ readonly now_ms: number; readonly wait_ms: number | null }>(
          `select (extract(epoch from n.now) * 1000)::float8 as now_ms,
            (extract(epoch from (select min(c.next_at) from schedules c
              where c.ended_at is null and not c.paused and c.next_at > n.now) - n.now) * 1000)::float8 as wait_ms
          from (select ${now} as now) n`
        )
        return { now: clock!.now_ms, schedules: due, wait: clock!.wait_ms }
      }).pipe(answered("read which schedules are due")),
      changes: Stream.map(signals.listen(channel), () => undefined)
    })
  })
)
