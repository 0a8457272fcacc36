/** A server that goes silent: its connections stay open and carry nothing, as behind a NAT that dropped its state. */
import { assert, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Queue, Redacted, Scope, Stream } from "effect"
import { SqlClient } from "effect/sql"
import { DatabaseSignals } from "../../../src/layers/postgres/DatabaseSignals.ts"
import { migrate } from "../../../src/layers/postgres/Migrations.ts"
import * as PostgresDatabase from "../../../src/layers/postgres/Postgres.ts"
import * as SqlStorage from "../../../src/layers/postgres/SqlStorage.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"
import * as FaultProxy from "../../support/FaultProxy.ts"
import { layerPostgresAt } from "../../support/storage.ts"

/** Longer than a loaded server needs for one statement of these tests. */
const silence = Duration.seconds(2)

/** Longer than a test may run: a test that waits until the silence is noticed fails by its time limit. */
const silenceNeverNoticed = Duration.minutes(10)

/** A database behind a proxy. `freeze` blocks all data on every connection, until the function it returns is called. */
const frozenDatabase = Effect.gen(function*() {
  const direct = yield* freshDatabase
  const { hostname, port } = new URL(direct)
  const proxy = yield* FaultProxy.make({ host: hostname, port: Number(port) })
  const url = new URL(direct)
  url.host = `127.0.0.1:${proxy.port}`
  const freeze = () => {
    const thaw = (["upstream", "downstream"] as const).map((way) => proxy.add(way, { type: "timeout", millis: 0 }))
    return () => thaw.forEach((remove) => remove())
  }
  return { url: url.href, freeze, swallowed: proxy.swallowed }
})

const databaseAt = (url: string, limit = silence) => PostgresDatabase.layer(Redacted.make(url), { silence: limit })

it.live("writes and reads on new connections soon after the old ones went silent", () =>
  Effect.gen(function*() {
    const { freeze, swallowed, url } = yield* frozenDatabase
    const storage = yield* Layer.build(SqlStorage.layer.pipe(Layer.provideMerge(databaseAt(url)), Layer.orDie))
    const log = Context.get(storage, EventLog)
    const devices = Context.get(storage, DeviceRepository)
    const device = freshDevice()
    yield* log.append([messageDraft({ device })])
    const thaw = freeze()
    const append = yield* Effect.forkChild(log.append([messageDraft({ device, body: "body swallowed" })]))
    const desired = yield* Effect.forkChild(Effect.flip(devices.desired()))
    // Each of the two sends its statement, or opens a connection for it.
    yield* swallowed(/body swallowed|from devices|application_name/g, 2)
    // Both are lost, and their connections stay silent. New connections work.
    thaw()
    assert.deepStrictEqual(yield* Fiber.join(append), [{ _tag: "Committed", seq: 2 }])
    assert.strictEqual((yield* Fiber.join(desired))._tag, "StorageUnavailable")
    assert.deepStrictEqual(yield* devices.desired(), [])
    assert.strictEqual((yield* log.read({ after: 0, limit: 10, device })).events.length, 2)
  }).pipe(Effect.scoped))

it.live("interrupts a listener without waiting for a server that is silent", () =>
  Effect.gen(function*() {
    const { freeze, url } = yield* frozenDatabase
    const signals = Context.get(yield* Layer.build(databaseAt(url, silenceNeverNoticed)), DatabaseSignals)
    const heard = yield* Queue.unbounded<string | null>()
    const listener = yield* Effect.forkChild(
      Stream.runForEach(signals.listen("test"), (payload) => Queue.offer(heard, payload))
    )
    yield* Queue.take(heard)
    freeze()
    yield* Fiber.interrupt(listener)
  }).pipe(Effect.scoped))

it.live(
  "closes without waiting for a silent server, nor for open listeners and running statements",
  () =>
    Effect.gen(function*() {
      const { freeze, swallowed, url } = yield* frozenDatabase
      const scope = yield* Scope.make()
      const database = yield* Layer.buildWithScope(databaseAt(url, silenceNeverNoticed), scope)
      const heard = yield* Queue.unbounded<string | null>()
      yield* Effect.forkChild(
        Stream.runForEach(
          Context.get(database, DatabaseSignals).listen("test"),
          (payload) => Queue.offer(heard, payload)
        )
      )
      yield* Queue.take(heard)
      const sql = Context.get(database, SqlClient.SqlClient)
      yield* sql`select 1`
      freeze()
      const asked = yield* Effect.forkChild(Effect.flip(sql`select 1 as swallowed`))
      yield* swallowed(/as swallowed/g, 1)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* Fiber.join(asked)).reason._tag, "ConnectionError")
    }).pipe(Effect.scoped)
)

it.live(
  "assigns each number once if the database's default isolation is repeatable read",
  () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const admin = Context.get(yield* Layer.build(databaseAt(url)), SqlClient.SqlClient)
      yield* admin.unsafe(
        `alter database ${new URL(url).pathname.slice(1)} set default_transaction_isolation = 'repeatable read'`
      )
      yield* migrate.pipe(Effect.provideService(SqlClient.SqlClient, admin))
      const [a, b] = [yield* Layer.build(layerPostgresAt(url)), yield* Layer.build(layerPostgresAt(url))]
      const device = freshDevice()
      const appendMany = (log: EventLog["Service"]) =>
        Effect.forEach(Array.from({ length: 100 }), () => log.append([messageDraft({ device })]))
      yield* Effect.all([appendMany(Context.get(a, EventLog)), appendMany(Context.get(b, EventLog))], {
        concurrency: 2
      })
      const { events } = yield* Context.get(a, EventLog).read({ after: 0, limit: 1000 })
      assert.deepStrictEqual([...new Set(events.map((event) => event.kind))], ["message.received"])
      assert.deepStrictEqual(events.map((event) => event.seq), Array.from({ length: 200 }, (_, index) => index + 1))
    }).pipe(Effect.scoped)
)
