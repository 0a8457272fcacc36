/** The table `message_inbox`. */
import { Duration, Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { EventId } from "../../domain/Ids.ts"
import { MessageInbox } from "../../services/MessageInbox.ts"
import type { InboxEntry, InboxFailure } from "../../services/MessageInbox.ts"
import { makeAnswered } from "./Migrations.ts"
import { unavailable } from "./sqlErrors.ts"

const now = "date_trunc('milliseconds', clock_timestamp())"

/** Maximum number of rows that one statement deletes. */
const deleteRowsMax = 5_000

interface FailureRow {
  readonly event_id: string
  readonly handler: string
  readonly seq: number
  readonly attempts: number
  readonly failure: string | null
  readonly updated_ms: number
}

const failureColumns = `event_id::text as event_id, handler, seq::float8 as seq, attempts, failure,
  (extract(epoch from updated_at) * 1000)::float8 as updated_ms`

export const layer: Layer.Layer<MessageInbox, never, SqlClient.SqlClient> = Layer.effect(
  MessageInbox,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const answered = yield* makeAnswered

    const note = ({ eventId, handler, seq }: InboxEntry) =>
      sql.unsafe(
        `insert into message_inbox as i (event_id, handler, seq, state, attempts, updated_at)
        values ($1::uuid, $2, $3::float8, 'done', 1, ${now})
        on conflict (event_id, handler) do update
          set state = 'done', attempts = i.attempts + 1, failure = null, due_at = null, updated_at = ${now}
          where i.state <> 'done'
        returning handler`,
        [PgTypes.text(eventId), PgTypes.text(handler), PgTypes.float8(seq)]
      )

    const once: MessageInbox["Service"]["once"] = (entry, commit) =>
      sql.withTransaction(Effect.gen(function*() {
        // First, because it waits for a concurrent commit of another delivery of the same message.
        const noted = yield* note(entry)
        if (noted.length === 0) return false
        yield* commit
        return true
      })).pipe(unavailable("note a message as handled"), Effect.withSpan("MessageInbox.once"))

    return MessageInbox.of({
      isDone: (handler, event) =>
        sql.unsafe(
          `select 1 from message_inbox where event_id = $1::uuid and handler = $2 and state = 'done'`,
          [PgTypes.text(event), PgTypes.text(handler)]
        ).pipe(Effect.map((rows) => rows.length > 0), answered("look whether a message is handled")),
      once,
      fail: Effect.fn("MessageInbox.fail")(
        function*({ eventId, handler, seq }, { decide, keep, message }) {
          const [row] = yield* sql.unsafe<{ attempts: number }>(
            `insert into message_inbox as i (event_id, handler, seq, state, attempts, failure, updated_at)
          values ($1::uuid, $2, $3::float8, 'failing', 1, $4, ${now})
          on conflict (event_id, handler) do update set state = 'failing', attempts = i.attempts + 1,
            failure = excluded.failure, due_at = null, updated_at = ${now}
          returning attempts`,
            // Texts of other programs may hold characters that the database refuses.
            [
              PgTypes.text(eventId),
              PgTypes.text(handler),
              PgTypes.float8(seq),
              PgTypes.text(message.replaceAll("\0", ""))
            ]
          )
          const { attempts } = row!
          const verdict = decide(attempts)
          if (keep) {
            yield* sql.unsafe(
              `update message_inbox set state = $3,
              due_at = ${now} + $4::float8 * interval '1 millisecond'
            where event_id = $1::uuid and handler = $2`,
              [
                PgTypes.text(eventId),
                PgTypes.text(handler),
                PgTypes.text(verdict._tag === "Dead" ? "dead" : "failing"),
                PgTypes.float8(verdict._tag === "Dead" ? null : Duration.toMillis(verdict.after))
              ]
            )
          }
          return { attempts, verdict }
        },
        sql.withTransaction,
        unavailable("note a failure")
      ),
      due: (limit) =>
        sql.unsafe<FailureRow>(
          `select ${failureColumns} from message_inbox
          where state = 'failing' and due_at is not null and due_at <= clock_timestamp() order by due_at limit $1`,
          [PgTypes.int8(BigInt(limit))]
        ).pipe(Effect.map((rows) => rows.map(toFailure)), answered("read what is to be tried again")),
      failures: (events) =>
        sql.unsafe<FailureRow>(
          `select ${failureColumns} from message_inbox where event_id = any($1::uuid[]) and state <> 'done'
          order by event_id, handler`,
          [[...events]]
        ).pipe(Effect.map((rows) => rows.map(toFailure)), answered("read failures")),
      forgetFailures: (events) =>
        sql.unsafe(
          `delete from message_inbox where event_id = any($1::uuid[]) and state <> 'done'`,
          [[...events]]
        ).pipe(Effect.asVoid, answered("forget failures")),
      dead: Effect.fnUntraced(function*(limit) {
        const rows = yield* sql.unsafe<FailureRow & { total: number }>(
          `select ${failureColumns}, (select count(*) from message_inbox where state = 'dead')::float8 as total
          from message_inbox where state = 'dead' order by seq, handler limit $1`,
          [PgTypes.int8(BigInt(limit))]
        )
        return { items: rows.map(toFailure), total: rows[0]?.total ?? 0 }
      }, answered("read dead letters")),
      revive: (events) =>
        sql.unsafe<{ event_id: string }>(
          `update message_inbox set state = 'failing', attempts = 0, due_at = ${now}, updated_at = ${now}
          where state = 'dead' and ($1::uuid[] is null or event_id = any($1::uuid[])) returning event_id::text as event_id`,
          [events === null ? null : [...events]]
        ).pipe(Effect.map(toIds), answered("try dead letters again")),
      drop: (events) =>
        sql.unsafe<{ event_id: string }>(
          `update message_inbox set state = 'done', due_at = null, updated_at = ${now}
          where state = 'dead' and event_id = any($1::uuid[]) returning event_id::text as event_id`,
          [[...events]]
        ).pipe(Effect.map(toIds), answered("drop dead letters")),
      deleteOlderThan: (keep) =>
        sql.unsafe<{ count: number }>(
          `with gone as (
            delete from message_inbox where (event_id, handler) in (
              select event_id, handler from message_inbox
              where updated_at < clock_timestamp() - $1::float8 * interval '1 millisecond'
                and (state = 'done' or (state = 'failing' and due_at is null)) limit $2
            ) returning 1
          ) select count(*)::integer as count from gone`,
          [PgTypes.float8(Duration.toMillis(keep)), PgTypes.int8(BigInt(deleteRowsMax))]
        ).pipe(Effect.map((rows) => rows[0]!.count), answered("delete old notes of handled messages"))
    })
  })
)

const toFailure = (row: FailureRow): InboxFailure => ({
  eventId: row.event_id as EventId,
  handler: row.handler,
  seq: row.seq,
  attempts: row.attempts,
  message: row.failure ?? "",
  at: new Date(row.updated_ms).toISOString()
})

const toIds = (rows: ReadonlyArray<{ readonly event_id: string }>): ReadonlyArray<EventId> => [
  ...new Set(rows.map(({ event_id }) => event_id as EventId))
]
