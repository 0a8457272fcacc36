/**
 * Generations of identities that become fewer and larger while the log grows. Whatever happens in between, each identity is
 * recognised exactly once.
 */
import { assert, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { migrate } from "../../../src/layers/postgres/Migrations.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { appendStatement } from "../../../src/layers/postgres/appendStatement.ts"
import { prepare } from "../../../src/log/PreparedDraft.ts"
import { makeEventId } from "../../../src/services/EventIdentity.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { MessageRepository } from "../../../src/services/MessageRepository.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, freshWaId, messageDraft, ownMessageId } from "../../support/drafts.ts"
import { layerPostgresAt } from "../../support/storage.ts"

/** Generations of fifty, of which two make the next size, up to two hundred; and filters of a hundred numbers. */
const smallGenerations = Effect.gen(function*() {
  const url = yield* freshDatabase
  const sql = Context.get(yield* Layer.build(PostgresDatabase.layer(Redacted.make(url))), SqlClient.SqlClient)
  yield* migrate.pipe(Effect.provideService(SqlClient.SqlClient, sql))
  yield* sql`drop table events_1, identities_1`
  yield* sql`delete from log_partitions`
  yield* sql`update log_identity set events_end = 1, events_span = 100, identities_end = 1, identities_span = 50,
    identities_fanin = 2, identities_max = 200, filters_span = 100`
  yield* sql`select columba_extend(0)`
  const context = yield* Layer.build(layerPostgresAt(url))
  return { sql, log: Context.get(context, EventLog), messages: Context.get(context, MessageRepository) }
})

const generations = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ span: number }>`
      select (past - first)::float8 as span from log_partitions where parent = 'identities'
        and first <= (select max(seq) from events) order by first
    `,
    (rows) => rows.map((row) => row.span)
  )

/** The partitions of the table match, and none is created that is not attached. */
const attached = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ name: string }>`select inhrelid::regclass::text as name from pg_inherits
      where inhparent = 'identities'::regclass order by 1`,
    (rows) => rows.map((row) => row.name)
  )

const listed = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ relation: string }>`select relation from log_partitions where parent = 'identities' order by 1`,
    (rows) => rows.map((row) => row.relation).sort()
  )

const append = Effect.fnUntraced(function*(log: EventLog["Service"], count: number, device = freshDevice()) {
  const drafts = Array.from({ length: count }, () => messageDraft({ device, waId: freshWaId() }))
  const results = yield* log.append(drafts)
  assert.isTrue(results.every((result) => result._tag === "Committed"))
  return drafts
})

const step = (sql: SqlClient.SqlClient, rows: number) =>
  Effect.map(sql<{ step: string }>`select columba_merge_v1(${rows}) as step`, ([row]) => row!.step)

/** Builds the filters of full generations, and the first part of a merge. */
const beginMerge = Effect.fnUntraced(function*(sql: SqlClient.SqlClient, rows: number) {
  do {
    assert.strictEqual(yield* step(sql, rows), "working")
  } while ((yield* sql`select 1 from identity_merge where through is not null`).length === 0)
})

/** Each identity has one row, and a repeat of it is a duplicate. */
const knownOnce = Effect.fnUntraced(function*(
  { log, sql }: { readonly log: EventLog["Service"]; readonly sql: SqlClient.SqlClient },
  drafts: ReadonlyArray<ReturnType<typeof messageDraft>>
) {
  const [{ rows, keys }] = (yield* sql`
    select count(*)::float8 as rows, count(distinct (key, seq))::float8 as keys from identities
  `) as unknown as [{ rows: number; keys: number }]
  assert.deepStrictEqual({ rows, keys }, { rows: drafts.length, keys: drafts.length })
  for (let from = 0; from < drafts.length; from += 400) {
    const again = yield* log.append(drafts.slice(from, from + 400))
    assert.deepStrictEqual(new Set(again.map((result) => result._tag)), new Set(["Duplicate"]))
  }
  assert.deepStrictEqual((yield* attached(sql)).sort(), yield* listed(sql))
  assert.deepStrictEqual(
    yield* sql`select relname from pg_class where relkind = 'r' and relname like 'identities\\_%'
      and relname not in (select relation from log_partitions)
      and relname not in (select relation from identity_merge)`,
    []
  )
})

it.live("full generations are merged into few, size by size, and none beyond the largest", () =>
  Effect.gen(function*() {
    const { log, messages, sql } = yield* smallGenerations
    const device = freshDevice()
    const own = freshWaId()
    const drafts = [messageDraft({ device, waId: own, fromMe: true })]
    assert.strictEqual((yield* log.append(drafts))[0]!._tag, "Committed")
    for (let round = 0; round < 3; round++) drafts.push(...yield* append(log, 313))
    assert.lengthOf(yield* generations(sql), 19)
    assert.isAbove(yield* log.mergeIdentities, 0)
    assert.deepStrictEqual(yield* generations(sql), [200, 200, 200, 200, 100, 50])
    assert.strictEqual(yield* log.mergeIdentities, 0)
    yield* knownOnce({ log, sql }, drafts)
    assert.strictEqual((yield* messages.get(ownMessageId(device, own))).waId, own)
  }).pipe(Effect.scoped))

it.live(
  "a merge that is cut off at any step loses nothing, and the next one continues it; appends continue meanwhile",
  () =>
    Effect.gen(function*() {
      const { log, sql } = yield* smallGenerations
      const drafts = [...yield* append(log, 130)]
      const steps: Array<string> = []
      while (steps.at(-1) !== "idle") {
        // A process that dies right there: the step is done, and its transaction never ends.
        const readState = sql`select m.*, w.* from identity_filter_work w left join identity_merge m on true`
        const before = yield* readState
        const [done, dead] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
        const dying = yield* Effect.forkChild(sql.withTransaction(
          step(sql, 7).pipe(
            Effect.andThen(Deferred.succeed(done, undefined)),
            Effect.andThen(Deferred.await(dead))
          )
        ))
        yield* Deferred.await(done)
        yield* sql`select pg_terminate_backend(l.pid) from pg_locks l
        where l.locktype = 'advisory' and l.classid = 4341001 and l.objid = 3`
        yield* Deferred.succeed(dead, undefined)
        yield* Fiber.await(dying)
        assert.deepStrictEqual(yield* readState, before)
        drafts.push(...yield* append(log, 1))
        steps.push(yield* step(sql, 7))
      }
      assert.include(steps, "merged")
      yield* knownOnce({ log, sql }, drafts)
    }).pipe(Effect.scoped)
)

it.live("a step of a merge reads about as much as it copies, at any stage", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    yield* append(log, 130)
    yield* beginMerge(sql, 10)
    const countRead = Effect.map(
      sql<{ read: number }>`select coalesce(sum(idx_tup_fetch + seq_tup_read), 0)::float8 as read
        from pg_stat_xact_user_tables where relname like 'identities\\_%'`,
      ([row]) => row!.read
    )
    const read = yield* sql.withTransaction(Effect.gen(function*() {
      const before = yield* countRead
      yield* step(sql, 10)
      return (yield* countRead) - before
    }))
    // The two generations have a hundred between them.
    assert.isAtLeast(read, 10)
    assert.isBelow(read, 20)
  }).pipe(Effect.scoped))

it.live("two processes that merge at once do it once", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const drafts = yield* append(log, 400)
    const merged = yield* Effect.all([log.mergeIdentities, log.mergeIdentities, log.mergeIdentities], {
      concurrency: "unbounded"
    })
    yield* log.mergeIdentities
    assert.isAbove(merged.reduce((sum, count) => sum + count), 0)
    yield* knownOnce({ log, sql }, drafts)
  }).pipe(Effect.scoped))

it.live("retention that drops a generation under a merge ends that merge, and no identity returns", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const device = freshDevice()
    const old = yield* append(log, 60, device)
    const kept = yield* append(log, 150, device)
    yield* beginMerge(sql, 20)
    yield* sql`update events set recorded_at = recorded_at - interval '10 days' where seq <= 60`
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.days(5), { stepMax: Duration.days(1) }), {
      _tag: "Deleted",
      count: 60
    })
    yield* log.mergeIdentities
    assert.deepStrictEqual(yield* sql`select * from identity_merge`, [])
    // The first generation is gone, so only the rest is known: of the old ones, the last ten.
    yield* knownOnce({ log, sql }, [...old.slice(50), ...kept])
  }).pipe(Effect.scoped))

it.live("a reader of the whole log, such as a dump, delays the end of a merge, and no append", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const drafts = [...yield* append(log, 130)]
    const [reading, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const dump = yield* Effect.forkChild(sql.withTransaction(
      Effect.andThen(
        sql`select count(*) from events, identities`,
        Effect.andThen(Deferred.succeed(reading, undefined), Deferred.await(end))
      )
    ))
    yield* Deferred.await(reading)
    assert.strictEqual(yield* log.mergeIdentities, 0)
    assert.deepStrictEqual(yield* generations(sql), [50, 50, 50])
    drafts.push(...yield* append(log, 10))
    yield* Deferred.succeed(end, undefined)
    yield* Fiber.join(dump)
    assert.strictEqual(yield* log.mergeIdentities, 1)
    assert.deepStrictEqual(yield* generations(sql), [100, 50])
    yield* knownOnce({ log, sql }, drafts)
  }).pipe(Effect.scoped))

it.live("an erasure under a merge leaves nothing of the text, and a repeat of it restores nothing", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const device = freshDevice()
    const drafts = [...yield* append(log, 60, device), ...yield* append(log, 90)]
    yield* beginMerge(sql, 20)
    assert.strictEqual(yield* log.eraseDevice(device), 60)
    yield* log.mergeIdentities
    assert.deepStrictEqual(yield* sql`select 1 from events where device_id = ${device} and content is not null`, [])
    yield* knownOnce({ log, sql }, drafts)
    const other = drafts.slice(0, 1).map((draft) => ({ ...draft, data: { ...draft.data, body: "another text" } }))
    assert.deepStrictEqual((yield* log.append(other as never)).map((result) => result._tag), ["Duplicate"])
  }).pipe(Effect.scoped))

/** The generations that an append of twenty new messages looks into, and the rows of filters that it reads. */
const readByAppend = Effect.fnUntraced(function*(sql: SqlClient.SqlClient) {
  const [{ head }] = (yield* sql`select max(seq)::float8 as head from events`) as unknown as [{ head: number }]
  const groups = Array.from({ length: 20 }, () => ({
    drafts: [prepare(messageDraft({ device: freshDevice() }), () => makeEventId(Date.now()))],
    fence: null,
    effects: []
  }))
  const statement = appendStatement({ groups, moves: [], anchor: 0, floor: head })
  return yield* sql.withTransaction(Effect.gen(function*() {
    yield* sql.unsafe(statement.sql, statement.parameters)
    const rows = yield* sql<{ relation: string; probes: number; rows: number }>`
      select relname as relation, idx_scan::float8 as probes, idx_tup_fetch::float8 as rows from pg_stat_xact_user_tables
      where relname = 'identity_filters' or relname in (select relation from log_partitions where parent = 'identities')`
    return {
      generations: rows.flatMap((row) => row.probes > 0 && row.relation !== "identity_filters" ? [row.relation] : [])
        .sort(),
      filterRows: rows.find(({ relation }) => relation === "identity_filters")?.rows
    }
  }))
})

it.live("an append probes no generation that is in the filters for a key that they do not have", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const drafts = [...yield* append(log, 220)]
    assert.deepStrictEqual(
      (yield* readByAppend(sql)).generations,
      ["identities_1", "identities_101", "identities_151", "identities_201", "identities_51"]
    )
    yield* log.mergeIdentities
    const { filterRows, generations } = yield* readByAppend(sql)
    assert.deepStrictEqual(generations, ["identities_201"])
    assert.isAtMost(filterRows!, 5, "of each key its own bucket, most of which are empty")
    const [first] = yield* log.append(drafts.slice(0, 1))
    assert.strictEqual(first?._tag, "Duplicate")
  }).pipe(Effect.scoped))

it.live("filters whose generations are all gone are deleted, and the others are kept", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const ranges = Effect.map(
      sql<{ range: number }>`select distinct range::float8 as range from identity_filters order by 1`,
      (rows) => rows.map(({ range }) => range)
    )
    const drafts = yield* append(log, 399)
    yield* log.mergeIdentities
    assert.deepStrictEqual(yield* ranges, [0, 1, 2, 3])
    yield* sql`update events set recorded_at = recorded_at - interval '10 days' where seq <= 260`
    yield* log.deleteOlderThan(Duration.days(5), { stepMax: Duration.days(1) })
    yield* log.mergeIdentities
    assert.deepStrictEqual(yield* ranges, [2, 3])
    const again = yield* log.append(drafts.slice(260))
    assert.deepStrictEqual(new Set(again.map(({ _tag }) => _tag)), new Set(["Duplicate"]))
  }).pipe(Effect.scoped))

it.live("a message in the filters is recognised by each spelling of its chat", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    const device = freshDevice()
    const alias = { lid: "9911@lid", jid: "62811@s.whatsapp.net" }
    const [early, late] = [freshWaId(), freshWaId()]
    yield* log.append([messageDraft({ device, waId: early, chat: alias.lid })])
    yield* log.append([messageDraft({ device, chat: alias.jid, aliases: [alias] })])
    yield* log.append([messageDraft({ device, waId: late, chat: alias.lid })])
    yield* append(log, 150)
    yield* log.mergeIdentities
    assert.deepStrictEqual(yield* sql`select identities_filtered::float8 as past from log_identity`, [{ past: 151 }])
    for (
      const [waId, chat] of [[early, alias.jid], [early, alias.lid], [late, alias.jid], [late, alias.lid]] as const
    ) {
      const [again] = yield* log.append([messageDraft({ device, waId, chat })])
      assert.strictEqual(again?._tag, "Duplicate", `${waId} in ${chat}`)
    }
  }).pipe(Effect.scoped))

it.live("an append starts no parallel workers, whatever the planner assumes of tables that were never analyzed", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallGenerations
    yield* sql`create table seen (workers text)`
    yield* sql`create function note_workers() returns trigger language plpgsql as $$ begin
      insert into seen values (current_setting('max_parallel_workers_per_gather')); return null;
    end $$`
    yield* sql`create trigger note_workers after insert on identities execute function note_workers()`
    const [device, waId] = [freshDevice(), freshWaId()]
    yield* log.append([messageDraft({ device, waId })])
    // A batch with a repeat is written by the other function.
    yield* log.append([messageDraft({ device, waId }), messageDraft({ device })])
    assert.deepStrictEqual(yield* sql`select workers from seen`, [{ workers: "0" }, { workers: "0" }])
  }).pipe(Effect.scoped))
