/** The table `sends`. Each state change names the previous state in its condition, so no two callers both make it. */
import { Duration, Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { DeviceId, MessageId } from "../../domain/Ids.ts"
import { fileOf } from "../../domain/Send.ts"
import { perDayMax } from "../../domain/Pacing.ts"
import { IdempotencyKeyReused } from "../../domain/SendErrors.ts"
import { deriveMessageKey, parseMessageId } from "../../services/EventIdentity.ts"
import {
  asAccepted,
  doubtfulMax,
  heldAfter,
  idempotencyHours,
  SendRepository,
  unasked,
  waitingMax
} from "../../services/SendRepository.ts"
import type { NewSend, SendSweep, SentLately, StoredSend } from "../../services/SendRepository.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered } from "./Migrations.ts"
import { sendColumns, toSend } from "./sendRows.ts"
import type { SendRow } from "./sendRows.ts"
import { headSql } from "./eventReads.ts"

/** The channel that names devices with possibly pending messages. */
export const sendsChannel = "columba_sends"

/** Maximum number of rows of each kind that one sweep changes; the next sweep comes soon. */
const sweepMax = 500

/** A state change is reported by the caller that made it; if that process died, by a sweep after this time. */
const reportedAfter = "5 seconds"

/** Time in which no message is sent to a recipient that the gateway has refused as one too many. */
const limitedFor = "1 hour"

/** A message in doubt for longer is no longer searched for. */
const doubtMax = "24 hours"

/** Maximum number of devices with something to send that are read at once. A fleet has thousands at most. */
const devicesMax = 100_000

const deleteRowsMax = 5_000

const now = "date_trunc('milliseconds', clock_timestamp())"

type SweepRow = SendRow & { readonly what: "due" | "untold" | "active" }

export const layer: Layer.Layer<SendRepository, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  SendRepository,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const answered = yield* makeAnswered

    const rows = (statement: string, parameters: ReadonlyArray<unknown>) =>
      Effect.map(sql.unsafe<SendRow>(statement, parameters), (found) => found.map(toSend))

    /**
     * The new row, or the one that the key stands for: most repeats cost one statement. Neither, if the key stands for an old
     * one, or a concurrent request with it is being stored. Signals in the same transaction where other processes listen.
     */
    const insert = (send: NewSend) =>
      sql.unsafe<SendRow & { readonly fresh: boolean; readonly same: boolean }>(
        `with known as (
          select k.* from sends k where k.device_id = $2 and k.idempotency_key = $8
            and k.created_at >= clock_timestamp() - interval '${idempotencyHours} hours'
        ), s as (
          insert into sends as s (id, device_id, chat, sender, content, state, on_unknown, head, idempotency_key, digest,
            scheduled_at, due_at, expires_at, created_at, updated_at, file)
          select $1, $2, $3, $4, $5::json, case when $6::timestamptz > n.now then 'scheduled' else 'pending' end, $7,
            ${headSql}, $8, $9::uuid, $6::timestamptz, n.due, n.due + $10::float8 * interval '1 millisecond', n.now, n.now, $11
          from (select m.now, greatest(m.now, $6::timestamptz) as due from (select ${now} as now) m) n
          where not exists (select 1 from known)
          on conflict (device_id, idempotency_key) where idempotency_key is not null do nothing
          returning *
        )
        select ${sendColumns}, true as fresh, true as same,
          ${signals.shared ? `pg_notify('${sendsChannel}', s.device_id)::text` : "null"} as told from s
        union all select ${sendColumns}, false, s.digest = $9::uuid, null from known s`,
        [
          PgTypes.text(send.id),
          PgTypes.text(send.deviceId),
          PgTypes.text(send.chat),
          PgTypes.text(send.sender),
          PgTypes.text(JSON.stringify(send.body)),
          PgTypes.text(send.scheduledAt),
          PgTypes.text(send.onUnknown),
          PgTypes.text(send.idempotency?.key ?? null),
          PgTypes.text(send.idempotency?.digest ?? null),
          PgTypes.float8(Duration.toMillis(send.grace)),
          PgTypes.text(uploadOf(send))
        ]
      )

    /** The message that the key stands for; null once the key has expired. */
    const findByKey = Effect.fnUntraced(function*(device: DeviceId, key: string, digest: string) {
      const found = yield* sql.unsafe<SendRow & { readonly same: boolean; readonly old: boolean }>(
        `select ${sendColumns}, s.digest = $3::uuid as same,
          s.created_at < clock_timestamp() - interval '${idempotencyHours} hours' as old
        from sends s where s.device_id = $1 and s.idempotency_key = $2`,
        [PgTypes.text(device), PgTypes.text(key), PgTypes.text(digest)]
      )
      const row = found[0]
      if (row === undefined) return null
      if (row.old) {
        yield* sql.unsafe(
          `update sends set idempotency_key = null where id = $1 and idempotency_key = $2`,
          [PgTypes.text(row.id), PgTypes.text(key)]
        )
        return null
      }
      return row.same ? toSend(row) : yield* IdempotencyKeyReused.of()
    })

    const accept: SendRepository["Service"]["accept"] = Effect.fn("SendRepository.accept")(function*(send) {
      while (true) {
        const [row] = yield* insert(send)
        if (row?.fresh === true) {
          if (!signals.shared) yield* signals.notify(sendsChannel, send.deviceId)
          return { send: toSend(row), repeated: false }
        }
        if (row !== undefined) {
          return row.same ? { send: asAccepted(toSend(row)), repeated: true } : yield* IdempotencyKeyReused.of()
        }
        const { digest, key } = send.idempotency!
        const known = yield* findByKey(send.deviceId, key, digest)
        if (known !== null) return { send: asAccepted(known), repeated: true }
      }
    }, answered("store a message to send"))

    const visibility = (parameter: number) => `($${parameter}::text[] is null or s.device_id = any($${parameter}))`

    const find: SendRepository["Service"]["find"] = Effect.fn("SendRepository.find")(function*(id, visible) {
      const found = yield* rows(
        `select ${sendColumns} from sends s where s.id = $1 and ${visibility(3)}
        union all
        select ${sendColumns} from sends s where s.message = $2::uuid and ${visibility(3)} limit 1`,
        [PgTypes.text(id), PgTypes.text(parseMessageId(id)), visible === undefined ? null : [...visible]]
      )
      return found[0] ?? null
    }, answered("read a message to send"))

    return SendRepository.of({
      accept,
      find,
      cancel: Effect.fn("SendRepository.cancel")(function*(id, visible) {
        const done = yield* rows(
          `update sends s set state = 'cancelled', untold = true, updated_at = ${now}
          where s.id = $1 and s.state in ('pending', 'scheduled') and s.expires_at > clock_timestamp() and ${
            visibility(2)
          }
          returning ${sendColumns}`,
          [PgTypes.text(id), visible === undefined ? null : [...visible]]
        )
        if (done[0] !== undefined) return { done: true, send: done[0] }
        const send = yield* find(id, visible)
        return send === null ? null : { done: false, send }
      }, answered("cancel a message")),
      // The text of the content shows whether there is a URL: parsing it fails for texts with U+0000 and the like, and
      // quotes within texts are escaped.
      claim: (device, epoch, resting = []) =>
        sql.unsafe<SendRow & { readonly limited: boolean }>(
          `with next as (
            select n.id from sends n
            where n.device_id = $1 and n.state = 'pending' and n.due_at <= clock_timestamp()
              and n.chat <> all ($3::text[]) and n.expires_at > clock_timestamp()
              and not exists (
                select 1 from sends o where o.device_id = $1 and o.chat = n.chat and o.state = 'sending'
              )
            order by n.due_at, n.ordinal limit 1 for update skip locked
          )
          update sends s set state = 'sending', epoch = $2, attempts = s.attempts + 1, claimed_at = ${now}, updated_at = ${now},
            fetching = s.content::text like '%"file":{"url":%'
          from next, devices d
          where s.id = next.id and s.state = 'pending' and d.id = $1 and d.epoch = $2
          returning ${sendColumns}, exists (
            select 1 from sends o where o.device_id = $1 and o.chat = s.chat and o.reason = 'reach-out-limit'
              and o.updated_at > clock_timestamp() - interval '${limitedFor}'
          ) as limited`,
          [PgTypes.text(device), PgTypes.int4(epoch), [...resting]]
        ).pipe(
          Effect.map(([row]) => row === undefined ? null : { ...toSend(row), epoch, limited: row.limited }),
          answered("claim a message to send")
        ),
      begin: ({ deviceId, epoch, id }) =>
        sql.unsafe(
          `update sends s set fetching = false, claimed_at = ${now}, updated_at = ${now} from devices d
          where s.id = $1 and s.state = 'sending' and s.epoch = $2 and d.id = $3 and d.epoch = $2 returning s.id`,
          [PgTypes.text(id), PgTypes.int4(epoch), PgTypes.text(deviceId)]
        ).pipe(Effect.map((begun) => begun.length > 0), answered("begin to send a message")),
      pace: (device, millis) =>
        sql.unsafe<PaceRow>(paceStatement, [PgTypes.text(device), PgTypes.float8(millis)]).pipe(
          Effect.map(([row]) => row === undefined ? null : toSentLately(row)),
          answered("read what a device has sent lately")
        ),
      release: ({ epoch, id }, why) =>
        sql.unsafe(
          `update sends set state = 'pending', reason = coalesce($3, reason), detail = coalesce($4, detail), updated_at = ${now}
          where id = $1 and state = 'sending' and epoch = $2`,
          [PgTypes.text(id), PgTypes.int4(epoch), PgTypes.text(why?.reason ?? null), PgTypes.text(why?.detail ?? null)]
        ).pipe(Effect.asVoid, answered("give a message back")),
      held: sql.unsafe<{ readonly id: string; readonly device_id: string; readonly epoch: number }>(
        `select s.id, s.device_id, s.epoch from sends s join devices d on d.id = s.device_id and d.epoch = s.epoch
        where s.state = 'sending'
          and s.claimed_at < clock_timestamp() - interval '${Duration.toSeconds(heldAfter)} seconds' limit ${sweepMax}`
      ).pipe(
        Effect.map((found) =>
          found.map(({ device_id, epoch, id }) => ({ id: id as MessageId, deviceId: device_id as DeviceId, epoch }))
        ),
        answered("read messages that are claimed")
      ),
      retry: (id) =>
        sql.unsafe(
          `update sends set state = 'pending', updated_at = ${now} where id = $1 and state = 'unknown'`,
          [PgTypes.text(id)]
        ).pipe(Effect.asVoid, answered("send a message again")),
      waiting: sql.unsafe<{ readonly device_id: string }>(
        `select distinct device_id from sends where state = 'pending' limit ${devicesMax}`
      ).pipe(
        Effect.map((found) => found.map(({ device_id }) => device_id as DeviceId)),
        answered("read who has messages to send")
      ),
      sweep: sql.unsafe<SweepRow>(sweepStatement).pipe(Effect.map(toSweep), answered("look over messages to send")),
      doubtful: sql.unsafe<SendRow & { readonly age_ms: number }>(
        `select ${sendColumns}, (extract(epoch from clock_timestamp() - s.claimed_at) * 1000)::float8 as age_ms
        from (
          select * from sends u where u.state = 'unknown' and u.claimed_at > clock_timestamp() - interval '${doubtMax}'
          order by u.claimed_at desc limit ${doubtfulMax}
        ) s order by s.claimed_at`
      ).pipe(
        Effect.map((found) => found.map((row) => ({ send: toSend(row), age: row.age_ms }))),
        answered("read messages in doubt")
      ),
      filesInUse: sql.unsafe<{ readonly device_id: string; readonly file: string }>(
        `select distinct s.device_id, s.file from sends s
        where s.file is not null and s.state in ('scheduled', 'pending', 'sending', 'unknown')
          and (s.state <> 'unknown' or s.claimed_at > clock_timestamp() - interval '${doubtMax}')`
      ).pipe(
        Effect.map((found) => {
          const used = new Map<DeviceId, Set<string>>()
          for (const { device_id, file } of found) {
            const id = device_id as DeviceId
            used.set(id, (used.get(id) ?? new Set()).add(file))
          }
          return used
        }),
        answered("read which files are to be sent")
      ),
      repeated: (device, { digest, key }) =>
        findByKey(device, key, digest).pipe(
          Effect.map((known) => known === null ? null : asAccepted(known)),
          answered("read a message to send")
        ),
      linked: Effect.fnUntraced(function*(device, waIds) {
        const keys = new Map(waIds.map((waId) => [deriveMessageKey(device, waId), waId]))
        const found = yield* sql.unsafe<{ readonly message: string }>(
          `select s.message::text as message from sends s where s.message = any($1::uuid[])`,
          [[...keys.keys()]]
        )
        return new Set(found.flatMap(({ message }) => keys.get(message.replaceAll("-", "")) ?? []))
      }, answered("read which messages were sent")),
      changes: Stream.map(signals.listen(sendsChannel), (payload) => payload === null ? null : payload as DeviceId),
      deleteOlderThan: Effect.fn("SendRepository.deleteOlderThan")(function*(keep) {
        let count = 0
        while (true) {
          const deleted = yield* sql.unsafe<{ readonly count: number }>(
            `with gone as (
              delete from sends where id in (
                select id from sends
                where updated_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
                  and state in ('sent', 'failed', 'cancelled', 'expired', 'unknown')
                order by updated_at limit ${deleteRowsMax}
              ) returning 1
            ) select count(*)::integer as count from gone`,
            [PgTypes.float8(Duration.toMillis(keep))]
          )
          count += deleted[0]!.count
          if (deleted[0]!.count < deleteRowsMax) return count
        }
      }, answered("delete old messages"))
    })
  })
)

/** The uploaded file that the message is sent with. */
const uploadOf = ({ body }: NewSend): string | null => {
  const file = fileOf(body.content)
  return file !== null && "id" in file ? file.id : null
}

const active = `select 1 from sends a where a.state in ('pending', 'scheduled')
  union all select 1 from sends a where a.state = 'sending'
  union all select 1 from sends a where a.state = 'unknown' and a.claimed_at > clock_timestamp() - interval '${doubtMax}'`

interface PaceRow {
  readonly now_ms: number
  readonly created_ms: number
  readonly waiting: number
  readonly sent: string
}

const epochMillis = (time: string): string => `(extract(epoch from ${time}) * 1000)::float8`

const paceStatement = `select ${epochMillis(now)} as now_ms, ${epochMillis("d.created_at")} as created_ms,
    (select count(*)::integer from (
      select 1 from sends w where w.device_id = $1 and w.state = 'pending' limit ${waitingMax}
    ) c) as waiting,
    (select coalesce(json_agg(json_build_array(${
  epochMillis("s.claimed_at")
}, s.chat) order by s.claimed_at, s.ordinal), '[]')::text
    from (
      select l.claimed_at, l.ordinal, l.chat from sends l
      where l.device_id = $1 and l.claimed_at > clock_timestamp() - $2::float8 * interval '1 millisecond'
        and l.state in ('sending', 'sent', 'failed', 'unknown')
        and coalesce(l.reason, '') not in (${unasked.map((reason) => `'${reason}'`).join(", ")})
      order by l.claimed_at desc limit ${perDayMax}
    ) s) as sent
  from devices d where d.id = $1`

const toSentLately = ({ created_ms, now_ms, sent, waiting }: PaceRow): SentLately => ({
  now: now_ms,
  createdAt: created_ms,
  waiting,
  sent: (JSON.parse(sent) as ReadonlyArray<readonly [number, string]>).map(([at, chat]) => ({ at, chat }))
})

/**
 * The parts change rows of different states, so their order does not matter. A claim refuses expired messages,
 * so nothing that is about to expire is sent.
 */
const sweepStatement = `with due as (
    update sends s set state = 'pending', updated_at = ${now} where s.id in (
      select d.id from sends d
      where d.state = 'scheduled' and d.due_at <= clock_timestamp() and d.expires_at > clock_timestamp()
      order by d.due_at limit ${sweepMax} for update skip locked
    ) and s.state = 'scheduled' returning s.*
  ), ended as (
    update sends s set state = 'expired', reason = 'expired', detail = coalesce(s.detail, 'it was not sent in its time'),
      untold = true, updated_at = ${now}
    where s.id in (
      select d.id from sends d where d.state in ('pending', 'scheduled') and d.expires_at <= clock_timestamp()
      limit ${sweepMax} for update skip locked
    ) and s.state in ('pending', 'scheduled') returning s.*
  ), lost as (
    update sends s set state = 'unknown', reason = 'process-ended', untold = true, updated_at = ${now},
      detail = 'the process that was sending it ended before the gateway''s answer was recorded'
    from devices d
    where s.state = 'sending' and not s.fetching and d.id = s.device_id and d.epoch <> s.epoch returning s.*
  ), untouched as (
    update sends s set state = 'pending', fetching = false, updated_at = ${now}
    from devices d
    where s.state = 'sending' and s.fetching and d.id = s.device_id and d.epoch <> s.epoch returning s.*
  ), late as (
    select s.* from sends s
    where s.untold and s.updated_at < clock_timestamp() - interval '${reportedAfter}'
      and s.state in ('cancelled', 'expired', 'unknown') limit ${sweepMax}
  )
  select 'due' as what, ${sendColumns} from due s
  union all select 'due', ${sendColumns} from untouched s
  union all select 'untold', ${sendColumns} from ended s
  union all select 'untold', ${sendColumns} from lost s
  union all select 'untold', ${sendColumns} from late s
  union all (select 'active', ${sendColumns} from (values (1)) v(one) left join sends s on false where exists (${active}))`

const toSweep = (rows: ReadonlyArray<SweepRow>): SendSweep => {
  const untold: Array<StoredSend> = []
  const due = new Set<DeviceId>()
  for (const row of rows) {
    if (row.what === "untold") untold.push(toSend(row))
    else if (row.what === "due") due.add(row.device_id as DeviceId)
  }
  return { due: [...due], untold, active: rows.some(({ what }) => what !== "untold") || untold.length > 0 }
}
