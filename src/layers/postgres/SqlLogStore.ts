/** The log's store in Postgres or the embedded database: one function call per batch, one statement per read. */
import { Duration, Effect, Layer } from "effect"
import { PgTypes } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/DeviceErrors.ts"
import type { EventId } from "../../domain/Ids.ts"
import { canonical } from "../../domain/Jid.ts"
import { EventsExpired } from "../../domain/MessageErrors.ts"
import type { LogBounds, SinkCursor } from "../../services/EventLog.ts"
import { BatchRefused, FloorAboveHead, LogStore } from "../../log/LogStore.ts"
import type { WriteBatch, WriteResult, Written } from "../../log/LogStore.ts"
import { channel, erasedSignal, makeCommitSignals } from "./CommitSignals.ts"
import { DatabaseSignals } from "./DatabaseSignals.ts"
import { makeAnswered, makeSchemaRepair } from "./Migrations.ts"
import { appendStatement } from "./appendStatement.ts"
import { nextEpoch } from "./nextEpoch.ts"
import { headSql, latestStatement, pageStatement, toEvent } from "./eventReads.ts"
import type { EventRow, PageRow } from "./eventReads.ts"
import { describe, isDataError, isNumberTaken } from "./sqlErrors.ts"
import { makeWriterConnection } from "./WriterConnection.ts"

/** Maximum number of rows that retention deletes in one transaction: some 20 ms, while appends continue. */
const deleteRowsMax = 5_000

/** Maximum number of identities that one transaction of a merge copies: some 40 ms, while appends continue. */
const mergeRowsMax = 5_000

/** The pause between two steps of a merge: it uses a part of one core, and no time of the writer. */
const mergePause = Duration.millis(40)

/** Maximum number of a device's events that one transaction of an erasure examines. */
const eraseRowsMax = 5_000

interface EraseRow {
  readonly erased: number
  /** Whether a remaining event names the chat. */
  readonly named: boolean
  /** Null where the device has no more events. */
  readonly through: number | null
}

interface DeleteRow {
  readonly refused: boolean
  readonly elapsed_ms: number
  readonly removed: number
  readonly more: boolean
}

interface AppendRow {
  readonly behind: boolean
  readonly head: number
  readonly oldest: number
  readonly log_id: string
  readonly anchor_id: string | null
  readonly recorded_ms: number
  /** Null where every draft is new: the numbers end at the head. */
  readonly outcomes: ReadonlyArray<number> | null
  readonly seqs: ReadonlyArray<number> | null
  readonly lost: ReadonlyArray<string>
  readonly refused: ReadonlyArray<number>
  readonly named: ReadonlyArray<number>
  readonly names: ReadonlyArray<string>
}

export const layer: Layer.Layer<LogStore, never, SqlClient.SqlClient | DatabaseSignals> = Layer.effect(
  LogStore,
  Effect.gen(function*() {
    const sql = yield* SqlClient.SqlClient
    const signals = yield* DatabaseSignals
    const schema = yield* makeSchemaRepair
    const answered = yield* makeAnswered

    const execute = yield* makeWriterConnection
    const { commits, listener } = yield* makeCommitSignals()

    const write: LogStore["Service"]["write"] = (batch) =>
      Effect.matchEffect(Effect.suspend(() => execute(appendStatement(batch, listener))), {
        onSuccess: (rows) => toResult(batch, rows[0] as AppendRow),
        onFailure: (error) => Effect.andThen(schema.repair(error), writeFailure(error))
      })

    const read: LogStore["Service"]["read"] = Effect.fnUntraced(function*(options) {
      const rows = yield* sql.unsafe<PageRow>(...pageStatement(options))
      const { after_id, anchor_id, head, log_id, oldest, through_id, upto } = rows[0]!
      if (options.after < oldest - 1) return yield* EventsExpired.of(options.after, oldest)
      const events = rows.flatMap((row) => row.seq === null ? [] : [toEvent(row)])
      const bytes = rows.reduce((sum, row) => row.seq === null ? sum : sum + row.bytes, 0)
      const last = events.length === options.limit || bytes >= options.bytesMax ? events.at(-1)! : null
      return {
        events,
        through: last === null ? Math.max(options.after, upto) : last.seq,
        throughId: last === null ? through_id as EventId | null : last.id,
        head,
        oldest,
        logId: log_id,
        anchorId: anchor_id as EventId | null,
        afterId: after_id as EventId | null
      }
    }, answered("read the log"))

    const latest: LogStore["Service"]["latest"] = (options) =>
      sql.unsafe<EventRow>(...latestStatement(options)).pipe(
        Effect.map((rows) => rows.map(toEvent)),
        answered("read the log's newest events")
      )

    const bounds = sql.unsafe<LogBounds>(
      `select coalesce(n.seq, 0)::float8 as head, n.id::text as "headId", l.oldest::float8 as oldest,
        l.log_id::text as "logId"
      from log_identity l left join lateral (select seq, id from events order by seq desc limit 1) n on true`
    ).pipe(Effect.map((rows) => rows[0]!), answered("read the log's head"))

    const cursorEpoch: LogStore["Service"]["cursorEpoch"] = (sink) =>
      sql<{ epoch: number }>`select epoch from sink_cursors where sink = ${sink}`.pipe(
        Effect.map((rows) => rows[0]?.epoch ?? null),
        answered("read a sink's cursor")
      )

    const claimCursor: LogStore["Service"]["claimCursor"] = (sink, known, start) => {
      const kept = start?.keep ?? null
      const keep = PgTypes.float8(kept === null ? null : Duration.toMillis(kept))
      const rows = known === null
        ? sql.unsafe<{ epoch: number; seq: number }>(
          `insert into sink_cursors as c (sink, epoch, seq, keep)
          select $1, ${
            nextEpoch("0", "clock_timestamp()")
          }, case $2 when 'now' then ${headSql} else l.oldest - 1 end, $3::float8 * interval '1 millisecond'
          from log_identity l where $2 is not null
          on conflict (sink) do nothing returning c.epoch, c.seq::float8 as seq`,
          [PgTypes.text(sink), PgTypes.text(start?.from ?? null), keep]
        )
        : sql.unsafe<{ epoch: number; seq: number }>(
          `update sink_cursors as c set epoch = ${
            nextEpoch("c.epoch", "clock_timestamp()")
          }, seq = least(c.seq, ${headSql}),
            keep = case when $3 then $4::float8 * interval '1 millisecond' else c.keep end
          where c.sink = $1 and c.epoch = $2 returning c.epoch, c.seq::float8 as seq`,
          [PgTypes.text(sink), PgTypes.int4(known), PgTypes.bool(start !== null), keep]
        )
      return rows.pipe(
        Effect.map(([row]) => row === undefined ? null : { sink, ...row }),
        answered("claim a sink's cursor")
      )
    }

    const cursors = sql<SinkCursor>`
      select sink, epoch, seq::float8 as seq, keep is not null as limited from sink_cursors order by sink
    `.pipe(answered("read the sinks' cursors"))

    const deleteStep = (keep: Duration.Duration, stepMax: Duration.Duration) =>
      sql.unsafe<DeleteRow>(
        `select refused, elapsed_ms, removed, more
        from columba_delete_v1($1::float8 * interval '1 millisecond', $2::float8 * interval '1 millisecond', $3)`,
        [
          PgTypes.float8(Duration.toMillis(keep)),
          PgTypes.float8(Duration.toMillis(stepMax)),
          PgTypes.int4(deleteRowsMax)
        ]
      ).pipe(Effect.map((rows) => rows[0]!), answered("delete old events"))

    /** One transaction per step, so that appends continue between them. */
    const deleteOlderThan = Effect.fn("SqlLogStore.deleteOlderThan")(
      function*(keep: Duration.Duration, options: { readonly stepMax: Duration.Duration }) {
        let count = 0
        while (true) {
          const row = yield* deleteStep(keep, options.stepMax)
          if (row.refused) return { _tag: "Refused", elapsed: Duration.millis(row.elapsed_ms) } as const
          count += row.removed
          if (!row.more) return { _tag: "Deleted", count } as const
        }
      }
    )

    const mergeStep = sql.unsafe<{ readonly step: "idle" | "busy" | "working" | "merged" }>(
      `select columba_merge_v1(${mergeRowsMax}) as step`
    ).pipe(Effect.map((rows) => rows[0]!.step), answered("merge identities"))

    const mergeIdentities = Effect.gen(function*() {
      let merged = 0
      while (true) {
        const step = yield* mergeStep
        if (step === "idle" || step === "busy") return merged
        if (step === "merged") merged++
        yield* Effect.sleep(mergePause)
      }
    }).pipe(Effect.withSpan("SqlLogStore.mergeIdentities"))

    /** Step by step through the device's events; then every process drops its cached data of them. */
    const erase: LogStore["Service"]["erase"] = Effect.fn("SqlLogStore.erase")(function*(device, chat) {
      let count = 0
      let after = 0
      let named = false
      const spellings = chat === null ? null : [chat, canonical(chat)].map((one) => one.replaceAll("\u0000", "\ufffd"))
      while (true) {
        const rows = yield* sql.unsafe<EraseRow>(
          `select erased, named, through from columba_erase_v1($1, $2::text[], $3::float8, ${eraseRowsMax})`,
          [PgTypes.text(device), spellings, PgTypes.float8(after)]
        ).pipe(answered("erase events"))
        const row = rows[0]!
        count += row.erased
        named ||= row.named
        if (row.through === null) break
        after = row.through
      }
      yield* sql.unsafe(
        `delete from sends s where s.device_id = $1 and ($2::text[] is null or s.chat = any ($2::text[]) or s.chat in (
          select a.other from jid_aliases a where a.device_id = $1 and a.spelling = any ($2::text[])
        ))`,
        [PgTypes.text(device), spellings]
      ).pipe(answered("erase messages to send"))
      yield* sql.unsafe(
        `update schedules s set content = null, chat = '', next_at = null, next_id = null, last_at = null, last_id = null,
          ended_at = coalesce(s.ended_at, clock_timestamp()), end_reason = coalesce(s.end_reason, 'erased'),
          updated_at = clock_timestamp()
        where s.device_id = $1 and ($2::text[] is null or s.chat = any ($2::text[]) or s.chat in (
          select a.other from jid_aliases a where a.device_id = $1 and a.spelling = any ($2::text[])
        ))`,
        [PgTypes.text(device), spellings]
      ).pipe(answered("erase recurring sends"))
      if (!named) {
        yield* sql.unsafe(
          `update jid_aliases set erased_at = clock_timestamp() where device_id = $1 and erased_at is null
            and ($2::text[] is null or spelling = any ($2::text[]) or other = any ($2::text[]))`,
          [PgTypes.text(device), spellings]
        ).pipe(answered("forget the spellings of an account"))
      }
      return count
    }, (effect) => Effect.ensuring(effect, signals.notify(channel, erasedSignal)))

    return LogStore.of({
      erase,
      write,
      read,
      latest,
      bounds,
      cursorEpoch,
      claimCursor,
      cursors,
      deleteOlderThan,
      renew: schema.renew,
      mergeIdentities,
      shared: signals.shared,
      commits
    })
  })
)

const toResult = (batch: WriteBatch, row: AppendRow): Effect.Effect<WriteResult, FloorAboveHead> => {
  const bounds = { head: row.head, oldest: row.oldest, logId: row.log_id }
  if (row.behind) return Effect.fail(FloorAboveHead.of(bounds))
  const lost = new Set(row.lost)
  return Effect.succeed({
    ...bounds,
    anchorId: row.anchor_id as EventId | null,
    written: row.outcomes === null
      ? numberNew(batch, row.head)
      : row.outcomes.map((outcome, index) => toWritten(outcome, row.seqs![index]!)),
    recordedAt: new Date(row.recorded_ms).toISOString(),
    lost: batch.moves.flatMap((move, index) => lost.has(`${move.sink} ${move.epoch}`) ? [index] : []),
    refused: row.refused.map((group) => group - 1),
    named: new Map(row.named.map((draft, index) => [draft - 1, row.names[index]!]))
  })
}

const numberNew = ({ groups }: WriteBatch, head: number): ReadonlyArray<Written> => {
  const before = head - groups.length
  return groups.map((_, index) => ({ _tag: "Committed", seq: before + index + 1, fresh: true }))
}

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
