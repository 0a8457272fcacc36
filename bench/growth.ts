/**
 * The cost of an append to a grown log: `node bench/growth.ts <server url> [events]`, by default 5 million.
 *
 * In a database of its own on that server, which must run on this machine: the CPU time of the server process and the
 * WAL bytes per event, in batches of 500, right after a checkpoint, on the empty log; on the grown one, whose identities
 * are merged as the program merges them; and with 50 partitions of events. The cost of the merges is measured too. The newest
 * generation of identities is half full where it matters. Prints JSON, and drops the databases.
 *
 * `SPAN` and `FANIN` override the schema's own sizes of generations.
 */
import { readFileSync } from "node:fs"
import { Context, Effect, Layer, Redacted } from "effect"
import { PgClient } from "@effect/sql-pg"
import { SqlClient } from "effect/sql"
import { prepare } from "../src/log/PreparedDraft.ts"
import { appendStatement } from "../src/layers/postgres/appendStatement.ts"
import { migrate } from "../src/layers/postgres/Migrations.ts"
import { makeEventId } from "../src/services/EventIdentity.ts"
import { devices, makeDraft } from "./support/drafts.ts"

const [server, size = "5000000"] = process.argv.slice(2)
if (server === undefined) throw new Error("usage: node bench/growth.ts <server url> [events]")

const grown = Number(size)
const tried = { span: Number(process.env["SPAN"] ?? 0), fanin: Number(process.env["FANIN"] ?? 0) }
const batchEvents = 500
/** Enough that 10 ms ticks and single pauses do not matter. */
const batches = 200
const fillStep = 100_000

/** Clock ticks per second in /proc. */
const ticks = 100

const readCpuMillis = (pid: number): number => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]!.split(" ")
  return (Number(fields[11]) + Number(fields[12])) * 1000 / ticks
}

let made = 0

const withDatabase = <A, E>(use: (sql: SqlClient.SqlClient) => Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const name = `columba_growth_${process.pid}_${++made}`
    // Without the limits of the program's own connections: filling and checkpoints take long.
    const clientAt = (url: string) =>
      Effect.map(Layer.build(PgClient.layer({ url: Redacted.make(url) })), Context.get(SqlClient.SqlClient))
    const admin = yield* clientAt(server)
    yield* Effect.acquireRelease(
      admin.unsafe(`create database ${name}`),
      () => Effect.orDie(admin.unsafe(`drop database ${name} with (force)`))
    )
    const url = new URL(server)
    url.pathname = `/${name}`
    const sql = yield* clientAt(url.href)
    yield* migrate.pipe(Effect.provideService(SqlClient.SqlClient, sql))
    return yield* use(sql)
  }).pipe(Effect.scoped)

let next = 1_000_000_000

/** On one connection, like the log's writer. */
const measure = Effect.fnUntraced(function*(sql: SqlClient.SqlClient) {
  const connection = yield* sql.reserve
  const ask = (text: string) => connection.execute(text, [], undefined)
  const [{ pid }] = (yield* ask("select pg_backend_pid() as pid")) as [{ pid: number }]
  let [{ head }] = (yield* ask("select coalesce(max(seq), 0)::float8 as head from events")) as [{ head: number }]
  const append = Effect.fnUntraced(function*(count: number) {
    const drafts = Array.from({ length: count }, () => prepare(makeDraft(next++), () => makeEventId(Date.now())))
    const groups = drafts.map((draft) => ({ drafts: [draft], fence: null, effects: [] }))
    const statement = appendStatement({ groups, moves: [], anchor: 0, floor: head })
    yield* connection.execute(statement.sql, statement.parameters, undefined)
    head += count
  })
  // Plans are made and pages are read before the measurement.
  for (let batch = 0; batch < 5; batch++) yield* append(batchEvents)
  yield* ask("checkpoint")
  const readWal = Effect.map(
    ask("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as at"),
    ([row]) => (row as { at: number }).at
  )
  const [wal, cpu, start] = [yield* readWal, readCpuMillis(pid), performance.now()]
  for (let batch = 0; batch < batches; batch++) yield* append(batchEvents)
  const events = batches * batchEvents
  const single = readCpuMillis(pid)
  const figures = {
    cpuMicros: round((single - cpu) * 1000 / events),
    wallMicros: round((performance.now() - start) * 1000 / events),
    walBytes: Math.round(((yield* readWal) - wal) / events)
  }
  for (let index = 0; index < 500; index++) yield* append(1)
  return { ...figures, singleCpuMicros: round((readCpuMillis(pid) - single) * 1000 / 500) }
}, Effect.scoped)

const round = (value: number): number => Math.round(value * 10) / 10

/** Directly into the tables: filling is not measured. */
const fill = Effect.fnUntraced(function*(sql: SqlClient.SqlClient, count: number) {
  for (let done = 0; done < count; done += fillStep) {
    yield* sql`select columba_extend(coalesce((select max(seq) from events), 0) + ${fillStep})`
    yield* sql.unsafe(`with head as (select coalesce(max(seq), 0) as seq from events), rows as (
        select h.seq + i as seq, md5('key' || (h.seq + i))::uuid as key, 'dev_' || lpad((i % ${devices})::text, 26, '0') as device,
          '6281' || lpad((i % 5000)::text, 8, '0') || '@s.whatsapp.net' as chat
        from head h, generate_series(1, ${fillStep}) i
      ), identity as (
        insert into identities (key, seq) select key, seq from rows
      )
      insert into events (seq, id, kind, device_id, occurred_at, recorded_at, via, message, content, chat, bytes, data)
      select seq, key, 'message.received', device, '2026-11-22T10:00:00Z', now(), 'live', key, key, chat, 400,
        json_build_object('body', repeat('halo, apa kabar? ', 20)) from rows`)
  }
})

/** Like the program, in steps of as many rows. On one connection, so that its cost can be measured. */
const merge = Effect.fnUntraced(function*(sql: SqlClient.SqlClient) {
  const connection = yield* sql.reserve
  const ask = (text: string) => connection.execute(text, [], undefined)
  const [{ pid }] = (yield* ask("select pg_backend_pid() as pid")) as [{ pid: number }]
  const readWal = Effect.map(
    ask("select pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::float8 as at"),
    ([row]) => (row as { at: number }).at
  )
  const [wal, cpu] = [yield* readWal, readCpuMillis(pid)]
  let written = 0
  while (true) {
    const [{ step }] = (yield* ask("select columba_merge_v1(5000) as step")) as [{ step: string }]
    if (step === "idle") break
    if (step === "merged") {
      const [{ span }] = (yield* ask(
        "select max(past - first)::float8 as span from log_partitions where parent = 'identities'"
      )) as [{ span: number }]
      written += span
    }
  }
  if (written === 0) return null
  return {
    writes: written,
    cpuMicros: round((readCpuMillis(pid) - cpu) * 1000 / written),
    walBytes: Math.round(((yield* readWal) - wal) / written)
  }
}, Effect.scoped)

const setSpans = (sql: SqlClient.SqlClient, events: number) =>
  sql.withTransaction(Effect.gen(function*() {
    yield* sql`drop table events_1, identities_1`
    yield* sql`delete from log_partitions`
    yield* sql`update log_identity set events_end = 1, events_span = ${events}, identities_end = 1`
    if (tried.span > 0) yield* sql`update log_identity set identities_span = ${tried.span}`
    if (tried.fanin > 0) yield* sql`update log_identity set identities_fanin = ${tried.fanin}`
    yield* sql`update log_identity set identities_max = identities_span * identities_fanin * identities_fanin`
    yield* sql`select columba_extend(0)`
  }))

const countGenerations = (sql: SqlClient.SqlClient) =>
  Effect.map(
    sql<{ span: number }>`select (past - first)::float8 as span from log_partitions
      where parent = 'identities' and first <= (select max(seq) from events) order by first`,
    (rows) => rows.map(({ span }) => span)
  )

/** Fills the log to a number at which the newest generation is about half full. Returns the cost of the merges. */
const grow = Effect.fnUntraced(function*(sql: SqlClient.SqlClient, count: number) {
  const [row] = yield* sql<{ span: number }>`select identities_span::float8 as span from log_identity`
  const whole = Math.floor(count / row!.span) * row!.span + row!.span * 0.4
  yield* fill(sql, Math.round(whole / fillStep) * fillStep)
  return yield* merge(sql)
})

const eventsSpan = 10_000_000

const rounds = Number(process.env["BENCH_RUNS"] ?? 3)

type Figures = Effect.Success<ReturnType<typeof measure>>

/** The median of each figure separately. */
const median = (all: ReadonlyArray<Figures>): Figures => {
  const middle = (figure: keyof Figures) =>
    all.map((one) => one[figure]).sort((left, right) => left - right)[Math.floor((all.length - 1) / 2)]!
  return {
    cpuMicros: middle("cpuMicros"),
    wallMicros: middle("wallMicros"),
    walBytes: middle("walBytes"),
    singleCpuMicros: middle("singleCpuMicros")
  }
}

const measureEmpty = withDatabase((sql) => Effect.andThen(setSpans(sql, eventsSpan), measure(sql)))

/** In turns with the empty log, since CPU time depends on the other work of the machine. */
const compare = withDatabase((sql) =>
  Effect.gen(function*() {
    yield* setSpans(sql, eventsSpan)
    const merges = yield* grow(sql, grown)
    const generations = yield* countGenerations(sql)
    const [empty, full]: [Array<Figures>, Array<Figures>] = [[], []]
    for (let round = 0; round < rounds; round++) {
      empty.push(yield* measureEmpty)
      // A round fills a fifth of a generation, and a full one is soon added to the filters.
      yield* merge(sql)
      full.push(yield* measure(sql))
      process.stderr.write(`${JSON.stringify({ round, empty: empty.at(-1), full: full.at(-1) })}\n`)
    }
    return { merges, generations, empty: median(empty), full: median(full) }
  })
)

const program = Effect.gen(function*() {
  const { empty, full, generations, merges } = yield* compare
  const partitions = yield* withDatabase((sql) =>
    setSpans(sql, 20_000).pipe(Effect.andThen(grow(sql, 1_000_000)), Effect.andThen(measure(sql)))
  )
  const ratio = (figure: keyof Figures) => Math.round(full[figure] * 100 / empty[figure]) / 100
  return {
    empty,
    [`with ${grown} events`]: full,
    ratio: { cpu: ratio("cpuMicros"), wal: ratio("walBytes"), singleCpu: ratio("singleCpuMicros") },
    generations,
    merges,
    "with 1 million events in 50 partitions": partitions
  }
})

Effect.runPromise(program).then((figures) => console.log(JSON.stringify(figures, null, 2)))
