/** Commits are signalled while another process asks for signals, and no such process misses one. */
import { randomUUID } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { appendStatement } from "../../../src/layers/postgres/appendStatement.ts"
import { channel, makeCommitSignals } from "../../../src/layers/postgres/CommitSignals.ts"
import { DatabaseSignals } from "../../../src/layers/postgres/DatabaseSignals.ts"
import { migrate } from "../../../src/layers/postgres/Migrations.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import { prepare } from "../../../src/log/PreparedDraft.ts"
import { makeEventId } from "../../../src/services/EventIdentity.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"
import { until } from "../../support/until.ts"

const makeDatabase = Effect.gen(function*() {
  const url = yield* freshDatabase
  const build = Layer.build(PostgresDatabase.layer(Redacted.make(url)))
  const writer = yield* build
  const sql = Context.get(writer, SqlClient.SqlClient)
  yield* migrate.pipe(Effect.provideService(SqlClient.SqlClient, sql))
  return { sql, signals: Context.get(writer, DatabaseSignals), process: build }
})

const device = freshDevice()

const readHead = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ readonly head: number }>`select coalesce(max(seq), 0)::float8 as head from events`,
    ([row]) => row!.head
  )

/** Appends one event as a process of that name, of the plain kind or with an effect. */
const append = Effect.fnUntraced(function*(
  sql: SqlClient.SqlClient,
  listener: string,
  effects: "plain" | "effects" = "plain"
) {
  const alive = { _tag: "Alive", owner: "someone", at: "2026-11-22T10:00:00Z", after: null } as const
  const group = {
    drafts: [prepare(messageDraft({ device }), () => makeEventId(Date.now()))],
    fence: null,
    effects: effects === "plain" ? [] : [alive]
  }
  const statement = appendStatement({ groups: [group], moves: [], anchor: 0, floor: yield* readHead(sql) }, listener)
  return yield* sql.unsafe(statement.sql, statement.parameters)
})

/** The commits of another process, as it pulls them. */
const pullCommits = Effect.fnUntraced(function*(
  process: Effect.Success<typeof makeDatabase>["process"],
  renewInterval?: Duration.Duration
) {
  const context = yield* process
  const { commits } = yield* Effect.provideContext(makeCommitSignals(renewInterval), context)
  return yield* Stream.toPull(commits)
})

it.live("signals commits once another process asks for signals, and not before", () =>
  Effect.gen(function*() {
    const { process, signals, sql } = yield* makeDatabase
    const own = randomUUID()
    yield* sql`select columba_listen_v1(${own}, 60000)`
    const heard = yield* Stream.toPull(signals.listen(channel))
    assert.deepStrictEqual(yield* heard, [null])
    yield* append(sql, own)
    yield* append(sql, own, "effects")
    yield* signals.notify(channel, "after both")
    assert.deepStrictEqual(yield* heard, ["after both"])

    const commits = yield* pullCommits(process)
    assert.deepStrictEqual(yield* commits, [null])
    yield* append(sql, own)
    assert.deepStrictEqual([yield* commits, yield* heard], [[3], ["3"]])
    yield* append(sql, own, "effects")
    assert.deepStrictEqual([yield* commits, yield* heard], [[4], ["4"]])
  }).pipe(Effect.scoped))

it.live("signals a process that starts to listen during an append only after that commit", () =>
  Effect.gen(function*() {
    const { process, sql } = yield* makeDatabase
    const [appended, commit] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
    const appending = yield* Effect.forkChild(sql.withTransaction(
      append(sql, randomUUID()).pipe(
        Effect.andThen(Deferred.succeed(appended, undefined)),
        Effect.andThen(Deferred.await(commit))
      )
    ))
    yield* Deferred.await(appended)
    const commits = yield* pullCommits(process)
    const first = yield* Effect.forkChild(Effect.andThen(commits, readHead(sql)))
    const waits = sql`select 1 from pg_locks where locktype = 'advisory' and not granted`
    yield* Effect.raceFirst(
      Effect.asVoid(Fiber.await(first)),
      until("the listener waits for the append", Effect.map(waits, (rows) => rows.length > 0))
    )
    yield* Deferred.succeed(commit, undefined)
    yield* Fiber.join(appending)
    assert.strictEqual(yield* Fiber.join(first), 1)
  }).pipe(Effect.scoped))

it.live("informs a listener whose lease ended that it may have missed commits, and sends it the next ones", () =>
  Effect.gen(function*() {
    const { process, sql } = yield* makeDatabase
    const commits = yield* pullCommits(process, Duration.millis(20))
    assert.deepStrictEqual(yield* commits, [null])
    yield* sql`update log_listeners set until = now() - interval '1 second'`
    assert.deepStrictEqual(yield* commits, [null])
    yield* append(sql, randomUUID())
    // On a slow machine its connection may break, which is one more time in which it may have missed commits.
    const next = yield* Effect.repeat(commits, { while: ([signal]) => signal === null })
    assert.deepStrictEqual(next, [1])
  }).pipe(Effect.scoped))

it.live("sends signals to a dead listener no longer than its lease, also if the clock was set back meanwhile", () =>
  Effect.gen(function*() {
    const { sql } = yield* makeDatabase
    const [ended, future, living] = [randomUUID(), randomUUID(), randomUUID()]
    yield* sql`insert into log_listeners (listener, until) values
      (${ended}, now() - interval '1 second'), (${future}, now() + interval '1 day')`
    yield* sql`select columba_listen_v1(${living}, 60000)`
    const rows = yield* sql<{ listener: string }>`select listener::text as listener from log_listeners`
    assert.deepStrictEqual(rows, [{ listener: living }])
  }).pipe(Effect.scoped))
