/** Guarantees that only a real server can prove: overlapping transactions, dying connections, several processes. */
import { randomBytes } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Metric, Queue, Redacted, Stream } from "effect"
import type { Scope } from "effect"
import { SqlClient } from "effect/sql"
import type { SqlError } from "effect/sql"
import type { GatewayName, UpstreamId } from "../../../src/domain/Ids.ts"
import { appendStatement } from "../../../src/layers/postgres/appendStatement.ts"
import { migrate } from "../../../src/layers/postgres/Migrations.ts"
import { DatabaseSignals } from "../../../src/layers/postgres/DatabaseSignals.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { prepare } from "../../../src/log/PreparedDraft.ts"
import { makeEventId } from "../../../src/services/EventIdentity.ts"
import * as Metrics from "../../../src/services/Metrics.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, messageDraft, stateDraft } from "../../support/drafts.ts"
import { layerFreshPostgres, layerPostgresAt } from "../../support/storage.ts"
import { until } from "../../support/until.ts"

type Sql = SqlClient.SqlClient

const clientAt = (url: string): Effect.Effect<Sql, SqlError.SqlError, Scope.Scope> =>
  Effect.map(Layer.build(PostgresDatabase.layer(Redacted.make(url))), Context.get(SqlClient.SqlClient))

/** Two appenders whose transactions overlap, and a reader in the middle that moves its watermark. */
const readOverLateCommit = Effect.fnUntraced(function*(
  sql: Sql,
  watcher: Sql,
  append: (name: string) => Effect.Effect<unknown, SqlError.SqlError>,
  readAfter: (after: number) => Effect.Effect<ReadonlyArray<{ seq: number; name: string }>, SqlError.SqlError>
) {
  const appended = yield* Deferred.make<void>()
  const commit = yield* Deferred.make<void>()
  const early = yield* Effect.forkChild(sql.withTransaction(
    Effect.andThen(append("early"), Effect.andThen(Deferred.succeed(appended, undefined), Deferred.await(commit)))
  ))
  yield* Deferred.await(appended)
  const late = yield* Effect.forkChild(append("late"))
  const waits = watcher`select 1 from pg_locks where locktype = 'advisory' and not granted`
  // With a plain sequence nothing makes the second one wait.
  yield* Effect.raceFirst(
    Effect.ignore(Fiber.await(late)),
    until("the late append waits for the lock", Effect.map(waits, (rows) => rows.length > 0))
  )
  const first = yield* readAfter(0)
  const watermark = Math.max(0, ...first.map((row) => row.seq))
  yield* Deferred.succeed(commit, undefined)
  yield* Fiber.join(early)
  yield* Fiber.join(late)
  return [...first, ...(yield* readAfter(watermark))].map((row) => row.name).sort()
})

it.live("lets no reader skip a row that commits late; a reader of a plain sequence does", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const sql = yield* clientAt(url)
    // A separate client: statements of one client may share a connection, and these must not wait for a blocked one.
    const watcher = yield* clientAt(url)
    yield* migrate.pipe(Effect.provideService(SqlClient.SqlClient, sql))
    const device = freshDevice()
    const seen = yield* readOverLateCommit(
      sql,
      watcher,
      (name) => {
        const draft = prepare(messageDraft({ device, body: name }), () => makeEventId(Date.now()))
        const groups = [{ drafts: [draft], fence: null, effects: [] }]
        const statement = appendStatement({ groups, moves: [], anchor: 0, floor: 0 })
        return sql.unsafe(statement.sql, statement.parameters)
      },
      (after) =>
        watcher<{ seq: number; name: string }>`
          select seq::float8 as seq, data->>'body' as name from events where seq > ${after} order by seq
        `
    )
    assert.deepStrictEqual(seen, ["early", "late"])

    yield* sql`create table naive (seq bigserial primary key, name text)`
    const naive = yield* readOverLateCommit(
      sql,
      watcher,
      (name) => sql`insert into naive (name) values (${name})`,
      (after) =>
        watcher<{ seq: number; name: string }>`
          select seq::float8 as seq, name from naive where seq > ${after} order by seq
        `
    )
    assert.deepStrictEqual(naive, ["late"])
  }).pipe(Effect.scoped))

/** Kills the connection that last wrote the log, if it has done nothing else since. Returns how many were killed. */
const killWriter = (sql: Sql) =>
  Effect.map(
    sql`select pg_terminate_backend(pid) from pg_stat_activity
      where datname = current_database() and pid <> pg_backend_pid() and query like '%columba_append_%'`,
    (rows) => rows.length
  )

it.live("loses and repeats nothing when its connections are killed again and again", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const log = Context.get(yield* Layer.build(layerPostgresAt(url)), EventLog)
    const sql = yield* clientAt(url)
    const devices = Array.from({ length: 20 }, freshDevice)
    const [kills, stride] = [6, 500]
    let killed = 0
    let count = 0
    // Events continue until all kills are done: a connection is only found while it writes, or soon after.
    for (; count < kills * stride || killed < kills || count % devices.length > 0; count++) {
      const index = count
      const device = devices[index % devices.length]!
      const draft = index % 10 === 0 ? stateDraft(device, "Inactive") : messageDraft({ device, body: String(index) })
      log.push({ ...draft, data: { ...draft.data, index } as never })
      if (index % 100 === 0 && killed <= index / stride) killed += yield* killWriter(sql)
    }
    yield* log.flush
    assert.isAtLeast(killed, kills)
    const rows = yield* sql<{ seq: number; device: string; index: number }>`
      select seq::float8 as seq, device_id as device, (data->>'index')::integer as index from events order by seq
    `
    assert.deepStrictEqual(rows.map((row) => row.seq), Array.from({ length: count }, (_, index) => index + 1))
    for (const device of devices) {
      const order = rows.filter((row) => row.device === device).map((row) => row.index)
      assert.deepStrictEqual(order, [...order].sort((a, b) => a - b))
      assert.strictEqual(new Set(order).size, count / devices.length)
    }
  }).pipe(Effect.scoped))

it.live("replaces a connection of the writer that died while it was idle within the next write", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const log = Context.get(yield* Layer.build(layerPostgresAt(url)), EventLog)
    const sql = yield* clientAt(url)
    const device = freshDevice()
    yield* log.append([messageDraft({ device })])
    const retries = Effect.map(Metric.value(Metrics.appendRetries), ({ count }) => count)
    const before = yield* retries
    assert.strictEqual(yield* killWriter(sql), 1)
    yield* until("it has ended", Effect.map(killWriter(sql), (killed) => killed === 0))
    assert.deepStrictEqual(yield* log.append([messageDraft({ device })]), [{ _tag: "Committed", seq: 2 }])
    // For the log it was no failure, so none was reported.
    assert.strictEqual(yield* retries, before)
  }).pipe(Effect.scoped))

/** The database raises this SQLSTATE for every event whose data contains the text. */
const raiseOn = Effect.fnUntraced(function*(sql: Sql, text: string, code: string) {
  yield* sql.unsafe(`create or replace function test_raise() returns trigger language plpgsql as $$ begin
    if new.data::text like '%${text}%' then raise exception 'by the test' using errcode = '${code}'; end if;
    return new;
  end $$`)
  yield* sql.unsafe(`create or replace trigger test_raise before insert on events
    for each row execute function test_raise()`)
})

/** Returns once the log has retried a batch: by then a wrong reaction would have happened. */
const retried = Effect.gen(function*() {
  const count = Effect.map(Metric.value(Metrics.appendRetries), ({ count }) => count)
  const before = yield* count
  yield* until("the batch was tried three times more", Effect.map(count, (now) => now >= before + 3))
})

it.live.each(["23514", "23505", "54000", "54001", "53100", "25006"])(
  "never blames an error %s of the server on the event: it waits, and is committed unchanged",
  (code) =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const sql = yield* SqlClient.SqlClient
      const device = freshDevice()
      yield* raiseOn(sql, "genuine", code)
      const append = yield* Effect.forkChild(
        log.append([messageDraft({ device, body: "genuine" })]),
        { startImmediately: true }
      )
      yield* retried
      assert.isUndefined(append.pollUnsafe())
      yield* sql`drop trigger test_raise on events`
      assert.deepStrictEqual(yield* Fiber.join(append), [{ _tag: "Committed", seq: 1 }])
      const { events } = yield* log.read({ after: 0, limit: 10 })
      assert.deepStrictEqual(events.map((event) => event.kind), ["message.received"])
    }).pipe(Effect.provide(layerFreshPostgres))
)

it.live("lets an event wait whose frame.rejected is refused too, and commits it unchanged", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const sql = yield* SqlClient.SqlClient
    const device = freshDevice()
    yield* raiseOn(sql, "", "22000")
    const append = yield* Effect.forkChild(log.append([messageDraft({ device })]), { startImmediately: true })
    yield* retried
    yield* sql`drop trigger test_raise on events`
    assert.deepStrictEqual(yield* Fiber.join(append), [{ _tag: "Committed", seq: 1 }])
    const { events } = yield* log.read({ after: 0, limit: 10 })
    assert.deepStrictEqual(events.map((event) => event.kind), ["message.received"])
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("keeps a draft that the server refuses for its data as frame.rejected, and commits the rest", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    yield* raiseOn(yield* SqlClient.SqlClient, "\"body\":\"poison\"", "22P02")
    const device = freshDevice()
    const drafts = Array.from({ length: 50 }, (_, index) => messageDraft({ device, body: String(index) }))
    drafts.splice(33, 0, messageDraft({ device, body: "poison" }))
    const results = yield* log.append(drafts)
    assert.deepStrictEqual(results.map((result) => result._tag), Array.from({ length: 51 }, () => "Committed"))
    const { events } = yield* log.read({ after: 0, limit: 100, device })
    assert.deepStrictEqual(
      events.map((event) => event.kind),
      drafts.map((_, index) => index === 33 ? "frame.rejected" : "message.received")
    )
    assert.include(events[33]!.data, "poison")
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("keeps drafts that no index entry or stack of the server could hold as frame.rejected", () =>
  Effect.gen(function*() {
    const log = yield* EventLog
    const device = freshDevice()
    // Too long for an index entry and too random to be compressed into one.
    const address = `${randomBytes(20_000).toString("base64")}@lid`
    const own = stateDraft(device, "Inactive")
    const nested = JSON.parse(`${"[".repeat(4_000)}${"]".repeat(4_000)}`)
    const drafts = [
      messageDraft({ device, aliases: [{ lid: address, jid: "62811@s.whatsapp.net" }] }),
      messageDraft({ device, chat: address }),
      { ...own, kind: "gateway.test" as const, data: { nested } as never }
    ]
    yield* log.append(drafts)
    const { events } = yield* log.read({ after: 0, limit: 100, device })
    assert.deepStrictEqual(events.map((event) => event.kind), drafts.map(() => "frame.rejected"))
  }).pipe(Effect.provide(layerFreshPostgres)))

it.live("lets two processes start at once, share one log without holes, and receive each other's events", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const [a, b] = yield* Effect.all([Layer.build(layerPostgresAt(url)), Layer.build(layerPostgresAt(url))], {
      concurrency: 2
    })
    const logs = [Context.get(a, EventLog), Context.get(b, EventLog)]
    const each = 300
    const followed = logs.map((log) =>
      log.follow({ after: 0 }).pipe(
        Stream.flatMap((page) => Stream.fromIterable(page.events)),
        Stream.map((event) => event.seq),
        Stream.take(each * 2),
        Stream.runCollect
      )
    )
    const followers = yield* Effect.forEach(followed, (stream) => Effect.forkChild(stream))
    yield* Effect.forEach(logs, (log) =>
      Effect.gen(function*() {
        const device = freshDevice()
        for (let index = 0; index < each; index++) yield* log.append([messageDraft({ device })])
      }), { concurrency: 2 })
    const expected = Array.from({ length: each * 2 }, (_, index) => index + 1)
    for (const follower of followers) assert.deepStrictEqual([...(yield* Fiber.join(follower))], expected)
  }).pipe(Effect.scoped))

it.live("receives changed devices again after its listening connection was killed", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const [a, b] = [yield* Layer.build(layerPostgresAt(url)), yield* Layer.build(layerPostgresAt(url))]
    const writer = Context.get(a, DeviceRepository)
    const sql = yield* clientAt(url)
    const pulses = yield* Queue.unbounded<void>()
    // Ends before the connections it holds are returned.
    yield* Effect.forkScoped(
      Stream.runForEach(Context.get(b, DeviceRepository).changes, () => Queue.offer(pulses, undefined))
    )
    yield* Queue.take(pulses)
    const listening = sql<{ pid: number }>`
      select pid from pg_stat_activity where datname = current_database() and query = 'LISTEN "columba_devices"'
    `
    const [before] = yield* listening
    yield* sql`select pg_terminate_backend(${before!.pid})`
    yield* Queue.take(pulses)
    yield* until(
      "another connection listens",
      Effect.map(listening, (rows) => rows.some((row) => row.pid !== before!.pid))
    )
    yield* Queue.clear(pulses)
    const id = freshDevice()
    yield* writer.insert({
      id,
      name: "kasir",
      gateway: "default" as GatewayName,
      upstreamId: id as string as UpstreamId
    })
    yield* Queue.take(pulses)
  }).pipe(Effect.scoped))

it.live("retries a number that is in use, and never blames it on the event", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const log = Context.get(yield* Layer.build(layerPostgresAt(url)), EventLog)
    const [sql, watcher] = [yield* clientAt(url), yield* clientAt(url)]
    const device = freshDevice()
    yield* log.append([messageDraft({ device })])
    // Somebody writes past the lock: the append waits for that row, and finds it committed.
    const [taken, commit] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const intruder = yield* Effect.forkChild(sql.withTransaction(
      Effect.andThen(
        sql`insert into events (seq, id, kind, device_id, occurred_at, recorded_at, via, bytes, data)
          select 2, gen_random_uuid(), 'gateway.intruder', device_id, occurred_at, recorded_at, via, 2, '{}' from events`,
        Effect.andThen(Deferred.succeed(taken, undefined), Deferred.await(commit))
      )
    ))
    yield* Deferred.await(taken)
    const append = yield* Effect.forkChild(log.append([messageDraft({ device })]), { startImmediately: true })
    const waits = watcher`select 1 from pg_locks where locktype = 'transactionid' and not granted`
    yield* until("the append waits for the row", Effect.map(waits, (rows) => rows.length > 0))
    yield* Deferred.succeed(commit, undefined)
    yield* Fiber.join(intruder)
    assert.deepStrictEqual(yield* Fiber.join(append), [{ _tag: "Committed", seq: 3 }])
    const { events } = yield* log.read({ after: 0, limit: 10 })
    assert.deepStrictEqual(
      events.map((event) => event.kind),
      ["message.received", "gateway.intruder", "message.received"]
    )
  }).pipe(Effect.scoped))

it.live("applies an erasure of one process to the memory of another", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const [a, b] = [yield* Layer.build(layerPostgresAt(url)), yield* Layer.build(layerPostgresAt(url))]
    const [eraser, holder] = [Context.get(a, EventLog), Context.get(b, EventLog)]
    const device = freshDevice()
    const chat = "62899@s.whatsapp.net"
    yield* holder.append([messageDraft({ device, chat, body: "secret" })])
    assert.strictEqual(yield* eraser.eraseChat(device, chat), 1)
    // Its signal comes after that of the erasure.
    yield* eraser.append([messageDraft({ device })])
    yield* holder.follow({ after: 1 }).pipe(
      Stream.filter((page) => page.events.length > 0),
      Stream.take(1),
      Stream.runDrain
    )
    const { events } = yield* holder.read({ after: 0, limit: 10 })
    assert.deepStrictEqual(events.map((event) => event.kind), ["event.erased", "message.received"])
  }).pipe(Effect.scoped))

it.live("tells a reader that comes too late which events are still kept", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const writer = Context.get(yield* Layer.build(layerPostgresAt(url)), EventLog)
    const device = freshDevice()
    yield* writer.append(Array.from({ length: 3 }, () => messageDraft({ device })))
    const claim = yield* writer.claimCursor("sink", "beginning")
    assert.strictEqual(claim.seq, 0)
    yield* writer.moveCursor(claim, 2)
    const deleted = yield* writer.deleteOlderThan(Duration.zero, { stepMax: Duration.days(1) })
    assert.deepStrictEqual(deleted, { _tag: "Deleted", count: 2 })
    const reader = Context.get(yield* Layer.build(layerPostgresAt(url)), EventLog)
    const expired = yield* Effect.flip(reader.read({ after: 0, limit: 10 }))
    assert.deepInclude(expired, { _tag: "EventsExpired", after: "0", oldest: "3" })
    const kept = yield* reader.read({ after: 2, limit: 10 })
    assert.deepStrictEqual(kept.events.map((event) => event.seq), [3])
    assert.strictEqual((yield* reader.claimCursor("later", "beginning")).seq, 2)
  }).pipe(Effect.scoped))

it.live("accepts the URL of a former system's driver unchanged", () =>
  Effect.gen(function*() {
    const url = (yield* freshDatabase).replace(/^postgres(ql)?:/, "postgresql+asyncpg:")
    const sql = yield* clientAt(url)
    const rows = yield* sql<{ name: string }>`select current_setting('application_name') as name`
    assert.deepStrictEqual(rows, [{ name: "columba" }])
  }).pipe(Effect.scoped))

it.live("is not disturbed by a signal that is no number, which any program may send", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const sql = yield* clientAt(url)
    const log = Context.get(yield* Layer.build(layerPostgresAt(url)), EventLog)
    const heard = yield* Layer.build(PostgresDatabase.layer(Redacted.make(url))).pipe(
      Effect.flatMap((context) => Stream.toPull(Context.get(context, DatabaseSignals).listen("columba_log")))
    )
    // Null: it listens.
    yield* heard
    const device = freshDevice()
    for (let number = 1; number <= 20; number++) {
      yield* sql`select pg_notify('columba_log', 'no number')`
      // It has been sent to every listener by now; that of the log is one of them.
      yield* heard
      assert.deepStrictEqual(yield* log.append([messageDraft({ device })]), [{ _tag: "Committed", seq: number }])
    }
  }).pipe(Effect.scoped))
