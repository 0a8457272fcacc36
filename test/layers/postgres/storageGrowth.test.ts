/** A log that grows over many partitions, and deletion from it: nothing that a sink or the head needs. */
import { assert, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Redacted } from "effect"
import { SqlClient } from "effect/sql"
import { migrate } from "../../../src/layers/postgres/Migrations.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { MessageRepository } from "../../../src/services/MessageRepository.ts"
import { freshDatabase } from "../../support/database.ts"
import { ackDraft, freshDevice, freshWaId, messageDraft, ownMessageId } from "../../support/drafts.ts"
import { layerPostgresAt } from "../../support/storage.ts"

const stepMax = Duration.days(1)

/** A log with small partitions: events in hundreds, identities in fifties. */
const smallPartitions = Effect.gen(function*() {
  const url = yield* freshDatabase
  const sql = Context.get(yield* Layer.build(PostgresDatabase.layer(Redacted.make(url))), SqlClient.SqlClient)
  yield* migrate.pipe(Effect.provideService(SqlClient.SqlClient, sql))
  yield* sql`drop table events_1, identities_1`
  yield* sql`delete from log_partitions`
  yield* sql`update log_identity set events_end = 1, events_span = 100, identities_end = 1, identities_span = 50`
  yield* sql`select columba_extend(0)`
  const context = yield* Layer.build(layerPostgresAt(url))
  return { sql, log: Context.get(context, EventLog), messages: Context.get(context, MessageRepository) }
})

const countPartitions = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ parent: string; first: number }>`
      select parent, first::float8 as first from log_partitions order by parent, first
    `,
    (rows) => ({
      events: rows.filter((row) => row.parent === "events").map((row) => row.first),
      identities: rows.filter((row) => row.parent === "identities").map((row) => row.first)
    })
  )

const appendMany = Effect.fnUntraced(function*(log: EventLog["Service"], count: number) {
  const device = freshDevice()
  for (let index = 0; index < count; index++) log.push(messageDraft({ device }))
  yield* log.flush
})

it.live("creates a partition before its first number is assigned, also for batches larger than one", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallPartitions
    yield* appendMany(log, 930)
    assert.strictEqual((yield* log.bounds).head, 930)
    const { events, identities } = yield* countPartitions(sql)
    assert.isAbove(events.at(-1)! + 100, 930 + 50)
    assert.isAbove(identities.at(-1)! + 50, 930 + 25)
    const page = yield* log.read({ after: 0, limit: 1000 })
    assert.strictEqual(page.events.length, 930)
  }).pipe(Effect.scoped))

it.live("recognises an identity of any generation, and finds its message by id", () =>
  Effect.gen(function*() {
    const { log, messages } = yield* smallPartitions
    const device = freshDevice()
    const [first, own] = [freshWaId(), freshWaId()]
    yield* log.append([messageDraft({ device, waId: first }), messageDraft({ device, waId: own, fromMe: true })])
    yield* appendMany(log, 700)
    const again = yield* log.append([messageDraft({ device, waId: first }), ackDraft(device, own, "read")])
    assert.deepStrictEqual(again.map((result) => result._tag), ["Duplicate", "Committed"])
    assert.strictEqual((yield* messages.get(ownMessageId(device, own))).status, "read")
  }).pipe(Effect.scoped))

it.live("drops whole partitions, never below a sink's cursor, and the rest by rows; the newest event stays", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallPartitions
    const device = freshDevice()
    const own = freshWaId()
    const claim = yield* log.claimCursor("sink", "beginning")
    yield* log.append([messageDraft({ device, waId: own, fromMe: true }), ackDraft(device, own, "read")])
    yield* appendMany(log, 448)
    yield* log.moveCursor(claim, 250)
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.days(1), { stepMax }), { _tag: "Deleted", count: 0 })
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.zero, { stepMax }), { _tag: "Deleted", count: 250 })
    assert.deepInclude(yield* log.bounds, { head: 450, oldest: 251 })
    const { events, identities } = yield* countPartitions(sql)
    assert.strictEqual(events[0], 201)
    assert.strictEqual(identities[0], 251)
    assert.deepStrictEqual(yield* sql`select 1 from message_status`, [])
    yield* log.moveCursor(claim, 450)
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.zero, { stepMax }), { _tag: "Deleted", count: 199 })
    assert.deepInclude(yield* log.bounds, { head: 450, oldest: 450 })
    const [next] = yield* log.append([messageDraft({ device })])
    assert.deepStrictEqual(next, { _tag: "Committed", seq: 451 })
  }).pipe(Effect.scoped))

it.live("drops whole partitions past the cursor of a limited sink only once they are older than its limit", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallPartitions
    yield* sql`insert into sink_cursors (sink, epoch, seq, keep) values ('limited', 0, 150, interval '7 days')`
    yield* appendMany(log, 450)
    const age = (days: number) => sql`update events set recorded_at = recorded_at - ${days}::float8 * interval '1 day'`
    yield* age(2)
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.days(1), { stepMax }), { _tag: "Deleted", count: 150 })
    assert.deepInclude(yield* log.bounds, { head: 450, oldest: 151 })
    yield* age(6)
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.days(1), { stepMax }), { _tag: "Deleted", count: 299 })
    assert.deepInclude(yield* log.bounds, { head: 450, oldest: 450 })
  }).pipe(Effect.scoped))

it.live("refuses to delete when more time seems to have passed than can be explained", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallPartitions
    yield* appendMany(log, 120)
    yield* log.deleteOlderThan(Duration.days(30), { stepMax })
    // As after a clock that jumped 100 days ahead: the last round, and all events, seem that old.
    yield* sql`update log_identity set retained_at = retained_at - interval '100 days'`
    yield* sql`update events set recorded_at = recorded_at - interval '100 days'`
    const refused = yield* log.deleteOlderThan(Duration.days(30), { stepMax })
    assert.strictEqual(refused._tag, "Refused")
    assert.deepInclude(yield* log.bounds, { head: 120, oldest: 1 })
    const accepted = yield* log.deleteOlderThan(Duration.days(30), { stepMax: Duration.days(101) })
    assert.deepStrictEqual(accepted, { _tag: "Deleted", count: 119 })
  }).pipe(Effect.scoped))

it.live("leaves by an append no row version that a long snapshot, such as a dump's, would keep", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallPartitions
    yield* appendMany(log, 10)
    // The only table that every append reads: events and identities only gain rows.
    const readVersions = sql`select ctid::text, xmin::text from log_identity`
    const before = yield* readVersions
    yield* appendMany(log, 20)
    assert.deepStrictEqual(yield* readVersions, before)
  }).pipe(Effect.scoped))

it.live("is not delayed by a reader of the whole log, such as a dump, in appends and new partitions, only in drops", () =>
  Effect.gen(function*() {
    const { log, sql } = yield* smallPartitions
    yield* appendMany(log, 150)
    const [reading, end] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const dump = yield* Effect.forkChild(sql.withTransaction(
      Effect.andThen(
        sql`select count(*) from events, identities`,
        Effect.andThen(Deferred.succeed(reading, undefined), Deferred.await(end))
      )
    ))
    yield* Deferred.await(reading)
    yield* appendMany(log, 400)
    const before = (yield* countPartitions(sql)).events
    assert.isAbove(before.at(-1)!, 500)
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.zero, { stepMax }), { _tag: "Deleted", count: 0 })
    yield* Deferred.succeed(end, undefined)
    yield* Fiber.join(dump)
    assert.deepStrictEqual(yield* log.deleteOlderThan(Duration.zero, { stepMax }), { _tag: "Deleted", count: 549 })
  }).pipe(Effect.scoped))
