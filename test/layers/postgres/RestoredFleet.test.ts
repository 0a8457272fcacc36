/** A fleet whose database is restored to a state from before the fleet claimed its devices. */
import { assert, it } from "@effect/vitest"
import { PgClient } from "@effect/sql-pg"
import { Context, Duration, Effect, Exit, Layer, Redacted, Scope } from "effect"
import * as Reactivity from "effect/reactivity/Reactivity"
import * as LocalFleet from "../../../src/actors/fleet/LocalFleet.ts"
import { DeviceFleet } from "../../../src/services/DeviceFleet.ts"
import { DeviceRepository } from "../../../src/services/DeviceRepository.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { FleetSettings } from "../../../src/services/FleetSettings.ts"
import { GapRepository } from "../../../src/services/GapRepository.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import { freshDatabase } from "../../support/database.ts"
import { freshDevice } from "../../support/drafts.ts"
import { makeDatabaseAdmin } from "../../support/replaceDatabase.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import { until } from "../../support/until.ts"

/** Its machine has the clock of the database here. */
const clock = Effect.sync(() => new Date().toISOString())

const layer = (url: string, gateway: ScriptedGateway) =>
  LocalFleet.layer.pipe(
    Layer.provide(GatewayDirectory.layerFixed([gateway])),
    Layer.provide(Layer.effect(
      FleetSettings,
      Effect.map(FleetSettings, (settings) => ({ ...settings, heartbeatInterval: Duration.millis(200) }))
    )),
    Layer.provideMerge(layerPostgresAt(url))
  )

/** Null: it is of another kind. */
const stateIn = (data: string) =>
  (JSON.parse(data) as { readonly state?: { readonly _tag: string } }).state?._tag ?? null

it.live(
  "continues with all of its devices, and records the time that the restored database lacks",
  () =>
    Effect.gen(function*() {
      const url = yield* freshDatabase
      const admin = yield* makeDatabaseAdmin(url)
      const [one, two] = [freshDevice(), freshDevice()]
      const run = Effect.fnUntraced(function*(gateway: ScriptedGateway) {
        const scope = yield* Scope.fork(yield* Effect.scope)
        const context = yield* Layer.buildWithScope(Layer.fresh(layer(url, gateway)), scope)
        return {
          fleet: Context.get(context, DeviceFleet),
          devices: Context.get(context, DeviceRepository),
          ledger: Context.get(context, GapRepository),
          log: Context.get(context, EventLog),
          stop: Scope.close(scope, Exit.void)
        }
      })
      const recorded = (devices: DeviceRepository["Service"]) =>
        Effect.forEach([one, two], (id) => Effect.map(devices.get(id), ({ state }) => state._tag)).pipe(
          Effect.map((states) => states.join(" ")),
          Effect.orElseSucceed(() => "")
        )
      const before = yield* run(new ScriptedGateway())
      for (const id of [one, two]) {
        yield* before.devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
      }
      yield* until("both are online", Effect.map(recorded(before.devices), (states) => states === "Online Online"))
      yield* before.stop
      const copied = yield* clock
      yield* admin.copy
      const gateway = new ScriptedGateway()
      const { devices, fleet, ledger, log } = yield* run(gateway)
      yield* until("both are online again", Effect.map(recorded(devices), (states) => states === "Online Online"))
      const [kept] = gateway.live(one)
      // Accounted for, which the restored database does not know.
      yield* until("no gap is open", Effect.map(ledger.openOf([one, two]), ({ size }) => size === 0))
      yield* admin.restore
      const restored = yield* clock
      // At rest, one decides nothing; two loses its connection and would have to record that under an epoch that is gone.
      gateway.live(two)[0]!.lose("transport")
      yield* until(
        "both are online in the older database",
        Effect.map(recorded(devices), (states) => states === "Online Online")
      )
      yield* until(
        "both are hosted",
        Effect.map(
          Effect.forEach([one, two], fleet.view),
          (views) => views.every((view) => view?.state._tag === "Online")
        )
      )
      assert.strictEqual(gateway.live(one)[0], kept, "a session that works is left alone")
      yield* until("no gap is open any more", Effect.map(ledger.openOf([one, two]), ({ size }) => size === 0))
      for (const device of [one, two]) {
        const { items } = yield* ledger.page({ device, limit: 100 })
        const covering = items.filter(({ endedAt, openedAt }) => openedAt <= copied && endedAt! >= restored)
        assert.isNotEmpty(covering, JSON.stringify({ copied, restored, items }))
        assert(items.every(({ status }) => status === "unprovable"), "this gateway has no history")
      }
      assert.strictEqual((yield* ledger.page({ device: one, limit: 1 })).items[0]?.cause, "log-reset")
      const { head } = yield* log.bounds
      gateway.live(one)[0]!.lose("transport")
      // Read from the log: the device reconnects soon, and its row shows only its current state.
      yield* until(
        "a decision after that is taken",
        Effect.map(
          Effect.orDie(log.read({ after: head, limit: 1000 })),
          ({ events }) => events.some(({ data, deviceId }) => deviceId === one && stateIn(data) === "Backoff")
        )
      )
    }).pipe(Effect.scoped)
)

it.live("records a lasting gap again in a copy of the database in which that gap has ended long ago", () =>
  Effect.gen(function*() {
    const url = yield* freshDatabase
    const gateway = new ScriptedGateway()
    const context = yield* Layer.build(layer(url, gateway))
    const devices = Context.get(context, DeviceRepository)
    const ledger = Context.get(context, GapRepository)
    const id = freshDevice()
    yield* devices.insert({ id, name: "kasir", gateway: "default" as never, upstreamId: id as never })
    yield* until("it is online", Effect.map(Effect.orDie(devices.get(id)), ({ state }) => state._tag === "Online"))
    gateway.mode = "upstreamDown"
    gateway.live(id)[0]!.lose("transport")
    const open = Effect.map(ledger.openOf([id]), (gaps) => gaps.get(id) ?? [])
    yield* until("its gap is recorded", Effect.map(open, (gaps) => gaps.length === 1))
    const [gap] = yield* open
    const operator = yield* PgClient.makeClient({ url: Redacted.make(url) }).pipe(Effect.provide(Reactivity.layer))
    const beats = new Set<string>()
    const beat = operator.unsafe<{ at: string }>("select alive_at::text as at from process_heartbeats")
    yield* until("heartbeats are written", Effect.map(Effect.orDie(beat), ([row]) => beats.add(row!.at).size > 3))
    // As in a copy in which another process has brought it online again.
    yield* operator.unsafe(
      `with other as (update process_heartbeats set alive_at = alive_at - interval '1 hour')
      update gaps set status = 'unprovable', ended_at = opened_at, closed_at = opened_at`
    )
    yield* until("it is recorded again", Effect.map(open, (gaps) => gaps.some(({ endedAt }) => endedAt === null)))
    const lasting = (yield* open).filter(({ endedAt }) => endedAt === null)
    assert.deepStrictEqual(lasting.map(({ openedAt }) => openedAt), [gap!.openedAt])
    assert.notStrictEqual(lasting[0]!.id, gap!.id)
    gateway.mode = "accept"
    yield* until("it has ended", Effect.map(open, (gaps) => gaps.length === 0))
  }).pipe(Effect.scoped))
