/** Deliveries over a Postgres that is down, is restored, and deletes. */
import { PgTypes } from "@effect/sql-pg"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer } from "effect"
import { SqlClient } from "effect/sql"
import { EventLog } from "../../../src/services/EventLog.ts"
import { SubscriptionRepository } from "../../../src/services/SubscriptionRepository.ts"
import * as Rig from "../../actors/delivery/webhooks/rig.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice } from "../../support/drafts.ts"
import * as FaultProxy from "../../support/FaultProxy.ts"
import { makeDatabaseAdmin } from "../../support/replaceDatabase.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import * as Subscriber from "../../support/subscriber.ts"

const open = Effect.fnUntraced(function*(url: string) {
  const context = yield* Layer.build(Layer.fresh(layerPostgresAt(url)))
  const storage = Layer.succeedContext(
    Context.pick(EventLog, SubscriptionRepository)(context)
  )
  return { context, rig: yield* Rig.make({ storage }) }
})

const firstTimes = (received: ReadonlyArray<Subscriber.Received>) => {
  const seen = new Map(received.toReversed().map((one) => [one.id, one.seq]))
  return [...new Set(received.map(({ id }) => id))].map((id) => seen.get(id)!)
}

describe("deliveries over Postgres", () => {
  it.live("continue by themselves after a database outage: nothing is missing, each device is in order", () =>
    Effect.gen(function*() {
      const url = new URL(yield* freshDatabase)
      const proxy = yield* FaultProxy.make({ host: url.hostname, port: Number(url.port) })
      url.hostname = "127.0.0.1"
      url.port = String(proxy.port)
      const { rig } = yield* open(url.href)
      const subscriber = yield* Subscriber.start()
      const { id } = yield* rig.subscribe(subscriber.url)
      yield* rig.dispatch
      const devices = [freshDevice(), freshDevice(), freshDevice()]
      const before = yield* rig.emit(100, devices)
      // Cut while some are delivered and their cursor is not written yet.
      yield* subscriber.until(() => subscriber.received.length > 10)
      yield* proxy.disable
      const during = yield* Effect.forkChild(rig.emit(100, devices))
      yield* subscriber.until(() => subscriber.taken().length === before.length)
      yield* proxy.enable
      const emitted = [...before, ...(yield* Fiber.join(during))]
      yield* subscriber.until(() => subscriber.taken().length === emitted.length)
      for (const device of devices) {
        const seqs = firstTimes(subscriber.received.filter(({ deviceId }) => deviceId === device))
        assert.deepStrictEqual(seqs, [...seqs].sort((a, b) => a - b))
      }
      yield* rig.untilRow(id, ({ behind, health }) => behind === 0 && health.failing === null)
    }))

  it.live("restart at the cursor of a restored database, and skip none of its new events", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const admin = yield* makeDatabaseAdmin(url)
      const { rig } = yield* open(url)
      const subscriber = yield* Subscriber.start()
      const { id } = yield* rig.subscribe(subscriber.url)
      yield* rig.dispatch
      yield* rig.emit(20)
      yield* rig.untilRow(id, ({ behind }) => behind === 0)
      yield* admin.copy
      yield* rig.emit(30)
      yield* subscriber.until(() => subscriber.taken().length === 50)
      yield* admin.restore
      // The numbers 21 to 50 are assigned again, to other events.
      const device = freshDevice()
      const anew = yield* rig.emit(40, [device])
      assert.strictEqual(anew[0], 21)
      yield* subscriber.until(() => subscriber.taken().length === 90)
      const seqs = subscriber.taken().filter(({ deviceId }) => deviceId === device).map(({ seq }) => seq)
      assert.deepStrictEqual(seqs, anew)
      yield* rig.untilRow(id, ({ behind }) => behind === 0)
    }))

  it.live("of a paused subscription keep the log for a week and no longer; it resumes and reports what it missed", () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const { context, rig } = yield* open(url)
      const sql = Context.get(context, SqlClient.SqlClient)
      const log = Context.get(context, EventLog)
      const subscriber = yield* Subscriber.start()
      const { id } = yield* rig.subscribe(subscriber.url)
      yield* Effect.orDie(rig.manager.edit(id, { paused: true }, undefined))
      yield* rig.emit(10)
      const age = (days: number) =>
        sql.unsafe("update events set recorded_at = recorded_at - $1::float8 * interval '1 day'", [
          PgTypes.float8(days)
        ])
      const round = log.deleteOlderThan(Duration.days(1), { stepMax: Duration.days(1) })
      yield* age(6)
      yield* round
      assert.strictEqual((yield* log.bounds).oldest, 1)
      yield* age(2)
      yield* round
      // The newest event is never deleted.
      assert.strictEqual((yield* log.bounds).oldest, 10)
      yield* Effect.orDie(rig.manager.edit(id, { paused: false }, undefined))
      const [next] = yield* rig.emit(1)
      // Another process: this one still has the events in memory.
      yield* (yield* open(url)).rig.dispatch
      yield* subscriber.until(() => subscriber.taken().length === 2)
      assert.deepStrictEqual(subscriber.taken().map(({ seq }) => seq), [10, next])
      const row = yield* rig.untilRow(id, ({ behind }) => behind === 0)
      assert.strictEqual(row.health.expired, 9)
      // A subscription that has everything is no reason to keep anything.
      yield* age(2)
      yield* round
      assert.strictEqual((yield* log.bounds).oldest, 11)
    }))
})
