/** The log's store in Postgres or the embedded database: one function call a batch, one statement a read. */
import { Effect, Layer, Stream } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { EventKind, LoggedEvent, Via } from "../../domain/Event.ts"
import type { DeviceId, EventId } from "../../domain/Ids.ts"
import { EventsExpired } from "../../domain/MessageErrors.ts"
import type { EventFilter, LogBounds, SinkCursor } from "../../services/EventLog.ts"
import { BatchRefused, LogStore } from "../../log/LogStore.ts"
import type { WriteResult, Written } from "../../log/LogStore.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeSchemaRepair } from "./Migrations.ts"
import { appendParameters, appendStatement } from "./appendStatement.ts"
import { describe, isDataError, isNumberTaken, unavailable, withinAnswerMax } from "./sqlErrors.ts"

/** As `columba_append` names it. */
const channel = "columba_log"

/**
 * Numbers that one read looks at when it filters by kind alone, for which there is no index: a reader of something
 * rare comes back with a later `through` instead of holding a connection over millions of rows.
 */
const scanSpan = 50_000

/** Rows that retention removes in one transaction: some 20 ms, during which appends go on. */
const deleteChunkMax = 5_000

interface AppendRow {
  readonly head: number
  readonly oldest: number
  readonly log_id: string
  readonly recorded_ms: number
  readonly outcomes: ReadonlyArray<number>
  readonly seqs: ReadonlyArray<number>
  readonly lost: ReadonlyArray<string>
}

interface EventRow {
  readonly seq: number
  readonly id: string
  readonly kind: string
  readonly device_id: string
  readonly occurred_at: string
  readonly recorded_ms: number
  readonly via: string
  readonly data: string
  readonly bytes: number
}

const columns = `e.seq::float8 as seq, e.id::text as id, e.kind, e.device_id, e.occurred_at,
  (extract(epoch from e.recorded_at) * 1000)::float8 as recorded_ms, e.via, e.data::text as data, e.bytes`

export const layer: Layer.Layer<LogStore, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  LogStore,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const repairSchema = yield* makeSchemaRepair
    /** As `unavailable`, and the tables are created if the database was created anew. */
    const answered = (operation: string) => {
      const withinReach = unavailable(operation)
      return <A, E, R>(effect: Effect.Effect<A, E | SqlError.SqlError, R>) =>
        withinReach(Effect.tapError(effect, repairSchema))
    }

    /**
     * On a connection of its own for that long: shared ones are pipelined, and a reader's statement would wait behind
     * an append that waits for another process's.
     */
    const write: LogStore["Service"]["write"] = (drafts, moves) =>
      Effect.map(
        withinAnswerMax(Effect.scoped(Effect.flatMap(sql.reserve, (connection) =>
          connection.execute(appendStatement, appendParameters(drafts, moves), undefined)))),
        (rows): WriteResult => {
          const row = rows[0] as AppendRow
          const lost = new Set(row.lost)
          return {
            written: drafts.map((_, index) =>
              toWritten(row.outcomes[index]!, row.seqs[index]!)
            ),
            head: row.head,
            oldest: row.oldest,
            logId: row.log_id,
            recordedAt: new Date(row.recorded_ms).toISOString(),
            lost: moves.flatMap((move, index) => lost.has(`${move.sink} ${move.epoch}`) ? [index] : [])
          }
        }
      ).pipe(Effect.tapError(repairSchema), Effect.catch(writeFailure))

    const read: LogStore["Service"]["read"] = Effect.fnUntraced(function*(options) {
      const scanned = options.device === undefined && (options.kinds !== undefined || options.visible !== undefined)
      const { conditions, parameters } = filterSql(options, 5)
      const rows = yield* sql.unsafe<
        & {
          readonly head: number
          readonly oldest: number
          readonly log_id: string
          readonly anchor_id: string | null
        }
        & (EventRow | { readonly seq: null })
      >(
        `select h.head::float8 as head, h.oldest::float8 as oldest, h.log_id::text as log_id,
          (select a.id::text from events a where a.seq = $3) as anchor_id, ${columns}
        from log_head h left join lateral (
          select * from (
            select e.*, sum(e.bytes) over (order by e.seq) - e.bytes as ahead from (
              select * from events e
              where e.seq > $1 ${scanned ? `and e.seq <= $1 + ${scanSpan}` : ""} ${conditions}
              order by e.seq limit $2
            ) e
          ) e where e.ahead < $4
        ) e on true order by e.seq`,
        [
          PgTypes.int8(BigInt(options.after)),
          PgTypes.int8(BigInt(options.limit)),
          PgTypes.int8(BigInt(options.anchor)),
          PgTypes.int8(BigInt(options.bytesMax)),
          ...parameters
        ]
      )
      const { anchor_id, head, log_id, oldest } = rows[0]!
      if (options.after < oldest - 1) return yield* EventsExpired.of(options.after, oldest)
      const events = rows.flatMap((row) => row.seq === null ? [] : [toEvent(row)])
      const bytes = rows.reduce((sum, row) => row.seq === null ? sum : sum + row.bytes, 0)
      const through = events.length === options.limit || bytes >= options.bytesMax
        ? events[events.length - 1]!.seq
        : Math.max(options.after, scanned ? Math.min(head, options.after + scanSpan) : head)
      return { events, through, head, oldest, logId: log_id, anchorId: anchor_id as EventId | null }
    }, answered("read the log"))

    const latest: LogStore["Service"]["latest"] = (options) => {
      const { conditions, parameters } = filterSql(options, 2)
      return sql.unsafe<EventRow>(
        `select ${columns} from events e where true ${conditions} order by e.seq desc limit $1`,
        [PgTypes.int8(BigInt(options.limit)), ...parameters]
      ).pipe(Effect.map((rows) => rows.map(toEvent)), answered("read the log's newest events"))
    }

    const bounds = sql<LogBounds>`
      select head::float8 as head, oldest::float8 as oldest, log_id::text as "logId" from log_head
    `.pipe(Effect.map((rows) => rows[0]!), answered("read the log's head"))

    const claimCursor: LogStore["Service"]["claimCursor"] = (sink, from) =>
      sql.unsafe<{ epoch: number; seq: number }>(
        `insert into sink_cursors as c (sink, epoch, seq)
        select $1, 1, case $2 when 'now' then h.head else h.oldest - 1 end from log_head h
        on conflict (sink) do update set epoch = c.epoch + 1, seq = least(c.seq, (select head from log_head))
        returning c.epoch, c.seq::float8 as seq`,
        [PgTypes.text(sink), PgTypes.text(from)]
      ).pipe(Effect.map((rows) => ({ sink, ...rows[0]! })), answered("claim a sink's cursor"))

    const cursors = sql<SinkCursor>`
      select sink, epoch, seq::float8 as seq from sink_cursors order by sink
    `.pipe(answered("read the sinks' cursors"))

    /**
     * The oldest numbers first, chunk by chunk, until one is reached that must stay. `recorded_at` grows with the
     * number, so the first that is too young ends it.
     */
    const deleteChunk = (before: Date) =>
      sql.unsafe<{ removed: number }>(
        `with bound as (
          select h.oldest, least(h.oldest + ${deleteChunkMax} - 1, coalesce((select min(seq) from sink_cursors), h.head)) as upto
          from log_head h
        ), gone as (
          delete from events e using bound b
          where e.seq >= b.oldest and e.seq <= b.upto and e.recorded_at < $1 returning e.seq
        ), counted as (
          select count(*) as removed, max(seq) as last from gone
        ), moved as (
          update log_head h set oldest = c.last + 1 from counted c where c.last >= h.oldest
        )
        select removed::integer as removed from counted`,
        [PgTypes.timestamptz(before)]
      ).pipe(unavailable("remove old events"))
    const deleteBefore = Effect.fn("SqlLogStore.deleteBefore")(function*(before: Date) {
      let total = 0
      while (true) {
        const [row] = yield* deleteChunk(before)
        total += row!.removed
        if (row!.removed < deleteChunkMax) return total
      }
    })

    return LogStore.of({
      write,
      read,
      latest,
      bounds,
      claimCursor,
      cursors,
      deleteBefore,
      shared: signals.shared,
      commits: signals.shared
        ? Stream.map(signals.listen(channel), (payload) => payload === null ? null : Number(payload))
        : Stream.empty
    })
  })
)

const toWritten = (outcome: number, seq: number): Written => {
  switch (outcome) {
    case 0:
      return { _tag: "Committed", seq, fresh: true }
    case 1:
      return { _tag: "Committed", seq, fresh: false }
    case 2:
      return { _tag: "Duplicate" }
    case 4:
      return { _tag: "Fenced" }
    default:
      return { _tag: "Conflict" }
  }
}

const writeFailure = (error: SqlError.SqlError): Effect.Effect<never, StorageUnavailable | BatchRefused> =>
  isDataError(error)
    ? Effect.fail(BatchRefused.of(describe(error)))
    : Effect.andThen(
      isNumberTaken(error)
        ? Effect.logError("A number of the log was given twice; the batch is tried again", describe(error))
        : Effect.logDebug(`The database did not take a batch: ${describe(error)}`),
      Effect.fail(StorageUnavailable.of("append to the log", describe(error)))
    )

/** Has an index of its own, which only a statement that names it can use: a device's few states among its messages. */
const stateKind = "device.state"

/** Conditions of a filter, their parameters numbered from `first`. */
const filterSql = (
  filter: EventFilter,
  first: number
): { readonly conditions: string; readonly parameters: ReadonlyArray<unknown> } => {
  const parameters: Array<unknown> = []
  let conditions = ""
  if (filter.device !== undefined) {
    conditions += ` and e.device_id = $${first}`
    parameters.push(PgTypes.text(filter.device))
  }
  if (filter.visible !== undefined) {
    conditions += ` and e.device_id = any($${first + parameters.length}::text[])`
    parameters.push([...filter.visible])
  }
  if (filter.kinds?.length === 1 && filter.kinds[0] === stateKind) {
    conditions += ` and e.kind = '${stateKind}'`
  } else if (filter.kinds !== undefined) {
    conditions += ` and e.kind = any($${first + parameters.length}::text[])`
    parameters.push([...filter.kinds])
  }
  return { conditions, parameters }
}

const toEvent = (row: EventRow): LoggedEvent => ({
  seq: row.seq,
  id: row.id as EventId,
  kind: row.kind as EventKind,
  deviceId: row.device_id as DeviceId,
  occurredAt: row.occurred_at,
  recordedAt: new Date(row.recorded_ms).toISOString(),
  via: row.via as Via,
  data: row.data,
  bytes: row.bytes
})
