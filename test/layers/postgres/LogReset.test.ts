/** An older or another database replaces the current one under a running process: no event committed afterwards is skipped. */
import { assert, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Context, Deferred, Effect, Fiber, Layer, Metric, Queue, Redacted, Stream } from "effect"
import type { Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as SinkRelay from "../../../src/actors/delivery/SinkRelay.ts"
import { ColumbaClient } from "../../../src/client/ColumbaClient.ts"
import { GatewayName, readPosition } from "../../../src/domain/Ids.ts"
import type { DeviceId } from "../../../src/domain/Ids.ts"
import { LogReset } from "../../../src/domain/MessageErrors.ts"
import * as AesSecretSeal from "../../../src/layers/secrets/AesSecretSeal.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { GatewayAdapters } from "../../../src/services/GatewayAdapters.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import { GatewayRepository } from "../../../src/services/GatewayRepository.ts"
import { LogStatus } from "../../../src/services/LogStatus.ts"
import * as Metrics from "../../../src/services/Metrics.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice, messageDraft } from "../../support/drafts.ts"
import { makeDatabaseAdmin } from "../../support/replaceDatabase.ts"
import { openSse } from "../../support/sse.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import { startServer } from "../../support/surface.ts"
import { until } from "../../support/until.ts"

const openLog = (url: string) =>
  Effect.map(Layer.build(Layer.fresh(layerPostgresAt(url))), (context) => ({
    context,
    log: Context.get(context, EventLog)
  }))

/**
 * A reader of a replaced log ends and gets the new head. One that reads while there is no database ends because of that
 * instead; the position with which it reads again is refused.
 */
const assertEnded = (ended: { readonly _tag: string }, head: number) => {
  if (ended instanceof LogReset) assert.strictEqual(readPosition(ended.head)?.seq, head)
  else assert.strictEqual(ended._tag, "StorageUnavailable")
}

type Log = EventLog["Service"]

const say = (log: Log, device: DeviceId, bodies: ReadonlyArray<string>) =>
  log.append(bodies.map((body) => messageDraft({ device, body })))

const numbered = (name: string, count: number) => Array.from({ length: count }, (_, index) => `${name} ${index}`)

const readBody = (data: string) => (JSON.parse(data) as { readonly body: string }).body

/** A relay to a sink that records what it receives. */
const startRelay = Effect.fnUntraced(function*(log: Log): Effect.fn.Return<Queue.Queue<string>, never, Scope.Scope> {
  const published = yield* Queue.unbounded<string>()
  yield* SinkRelay.make({
    name: "recorder",
    publish: (events) => Queue.offerAll(published, events.map(({ data }) => readBody(data)))
  }).pipe(Effect.provideService(EventLog, log))
  return published
})

/** All events that the sink receives until it has all of these, in this order, without repeats. */
const receives = Effect.fnUntraced(function*(published: Queue.Queue<string>, bodies: ReadonlyArray<string>) {
  for (let next = 0; next < bodies.length;) {
    if ((yield* Queue.take(published)) === bodies[next]) next++
  }
})

/** Reads from there forever; the fiber ends with the end of the stream. */
const startFollower = Effect.fnUntraced(function*(log: Log, after: number) {
  const begun = yield* Deferred.make<void>()
  const fiber = yield* Effect.forkChild(
    Effect.flip(Stream.runForEach(log.follow({ after }), () => Deferred.succeed(begun, undefined)))
  )
  yield* Deferred.await(begun)
  return fiber
})

/** Returns once the durable cursor has this value. */
const settled = Effect.fnUntraced(function*(log: Log, seq: number) {
  yield* until(
    `a cursor stands at ${seq}`,
    Effect.map(log.cursors, (cursors) => cursors.some((cursor) => cursor.seq === seq))
  )
})

/** A log on a new database, whose relay has delivered this many events. */
const startDelivered = Effect.fnUntraced(function*(count: number) {
  const url = yield* freshDatabase
  const admin = yield* makeDatabaseAdmin(url)
  const { context, log } = yield* openLog(url)
  const device = freshDevice()
  const published = yield* startRelay(log)
  const old = numbered("old", count)
  yield* say(log, device, old)
  yield* receives(published, old)
  yield* settled(log, count)
  return { url, admin, context, log, device, published }
})

it.live(
  "delivers events committed after an older copy is restored, and ends readers with LogReset",
  () =>
    Effect.gen(function*() {
      const { admin, context, device, log, published } = yield* startDelivered(10)
      yield* admin.copy
      const lost = numbered("lost", 5)
      yield* say(log, device, lost)
      yield* receives(published, lost)
      yield* settled(log, 15)
      const followed = yield* startFollower(log, 0)
      const server = yield* startServer({ storage: Layer.succeedContext(context) })
      const sse = yield* openSse(`${server.url}/api/v1/events?after=15`)
      const client = Context.get(yield* Layer.build(ColumbaClient.layer(server)), ColumbaClient)
      const opened = yield* Deferred.make<void>()
      const overRpc = yield* Effect.forkChild(
        Effect.flip(Stream.runForEach(client.events.follow({}), () => Deferred.succeed(opened, undefined)))
      )
      yield* Deferred.await(opened)
      const resets = Effect.map(Metric.value(Metrics.logResets), ({ count }) => count)
      const before = yield* resets

      yield* admin.restore
      const fresh = numbered("new", 3)
      yield* say(log, device, fresh)
      yield* receives(published, fresh)
      assertEnded(yield* Fiber.join(followed), 10)
      const said = yield* sse.next
      assert.deepStrictEqual([said._tag, readPosition(said.head)?.seq], ["LogReset", 10])
      assert.strictEqual(sse.lastEventId(), said.head)
      assert.isNull(yield* sse.next)
      assert.strictEqual((yield* Fiber.join(overRpc))._tag, "LogReset")
      assert.deepStrictEqual(
        (yield* log.read({ after: 10, limit: 10 })).events.map(({ data }) => readBody(data)),
        fresh
      )
      yield* settled(log, 13)
      assert.strictEqual(yield* resets, before + 1)
      const { reset } = yield* Context.get(context, LogStatus).view
      assert.deepInclude(reset, { from: 15, to: 10, another: false })
    }).pipe(Effect.scoped)
)

it.live("recognises by its events a log that has grown past the old head again", () =>
  Effect.gen(function*() {
    const { admin, device, log, published, url } = yield* startDelivered(10)
    yield* admin.copy
    yield* say(log, device, numbered("lost", 5))
    yield* settled(log, 15)
    const followed = yield* startFollower(log, 0)
    yield* admin.restore
    const other = yield* openLog(url)
    const fresh = numbered("new", 20)
    yield* say(other.log, device, fresh)
    yield* receives(published, fresh)
    yield* Fiber.join(followed)
    yield* settled(log, 30)
  }).pipe(Effect.scoped))

it.live("migrates and uses a copy from before an upgrade", () =>
  Effect.gen(function*() {
    const { context, url } = yield* startDelivered(3)
    const operator = yield* PgClient.makeClient({ url: Redacted.make(url) }).pipe(Effect.provide(Reactivity.layer))
    // A column of devices is of this type.
    yield* operator.unsafe("drop type columba_death cascade")
    yield* operator.unsafe("delete from columba_migrations where migration_id >= 22")
    const devices = Context.get(context, DeviceRepository)
    const id = freshDevice()
    yield* devices.insert({ id, name: "kasir", gateway: GatewayName.make("default"), upstreamId: id as never })
    assert.strictEqual((yield* devices.claim("this", [id])).get(id)?.deaths, 0)
  }).pipe(Effect.scoped))

it.live("migrates and uses a database that was dropped and created anew", () =>
  Effect.gen(function*() {
    const { admin, context, device, log, published } = yield* startDelivered(3)
    const followed = yield* startFollower(log, 2)
    const { logId } = yield* log.bounds
    const gateways = Context.get(context, GatewayRepository)
    const directory = GatewayDirectory.layer([{
      name: GatewayName.make("default"),
      dialect: "bridge",
      url: "http://gateway",
      user: null,
      secrets: {},
      source: "environment"
    }]).pipe(
      Layer.provide(Layer.succeed(GatewayAdapters, GatewayAdapters.of({ byDialect: new Map() }))),
      Layer.provide(AesSecretSeal.layer([])),
      Layer.provide(Layer.succeedContext(context))
    )
    yield* Layer.build(directory)
    yield* admin.recreate
    yield* until(
      "the gateway of the process is in the new database",
      gateways.list.pipe(
        Effect.map((rows) => rows.some(({ gateway }) => gateway.source === "environment")),
        // On a connection of the database that was dropped: the next one is of the new database.
        Effect.catchTag("StorageUnavailable", () => Effect.succeed(false))
      )
    )
    const fresh = numbered("new", 8)
    yield* say(log, device, fresh)
    yield* receives(published, fresh)
    yield* settled(log, 8)
    assertEnded(yield* Fiber.join(followed), 0)
    const bounds = yield* log.bounds
    assert.deepInclude(bounds, { head: 8, oldest: 1 })
    assert.notStrictEqual(bounds.logId, logId)
    assert.deepInclude((yield* Context.get(context, LogStatus).view).reset, { another: true })
  }).pipe(Effect.scoped))
