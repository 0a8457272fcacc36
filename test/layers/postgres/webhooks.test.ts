/** Webhooks while the database is down, or silent: no false promise is made, and every possible one is kept. */
import { assert, it } from "@effect/vitest"
import { Context, Effect, Fiber } from "effect"
import type { Scope } from "effect"
import type { DeviceId, UpstreamId } from "../../../src/domain/Ids.ts"
import { DeviceManager } from "../../../src/services/DeviceManager.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { LogStatus } from "../../../src/services/LogStatus.ts"
import { WebhookRefusals } from "../../../src/services/WebhookRefusals.ts"
import { freshDatabase } from "../../support/database.ts"
import * as FaultProxy from "../../support/FaultProxy.ts"
import { post } from "../../support/postWebhook.ts"
import { layerPostgresAt } from "../../support/storage.ts"
import { makeScript, startServer } from "../../support/surface.ts"
import { until } from "../../support/until.ts"
import type { Script, Storage } from "../../support/surface.ts"

const secret = "a secret of the gateway"

interface Bench {
  readonly database: FaultProxy.FaultProxy
  readonly url: string
  readonly device: DeviceId
  readonly script: Script
  readonly refusals: WebhookRefusals["Service"]
  readonly send: (...ids: ReadonlyArray<string>) => Effect.Effect<{ readonly status: number; readonly tag: string }>
  /** Returns once this many events wait for the database. */
  readonly waiting: (events: number) => Effect.Effect<void>
  /** The ids in the log, in order. */
  readonly logged: Effect.Effect<ReadonlyArray<string>>
}

const start: Effect.Effect<Bench, never, Scope.Scope> = Effect.gen(function*() {
  const address = new URL(yield* freshDatabase)
  const database = yield* FaultProxy.make({ host: address.hostname, port: Number(address.port) })
  address.host = `127.0.0.1:${database.port}`
  const script = makeScript()
  const storage = layerPostgresAt(address.href) as unknown as Storage
  const { services, url } = yield* startServer({ storage, script, webhookSecret: secret })
  const device = yield* Effect.orDie(
    Context.get(services, DeviceManager).register({ name: "one", upstreamId: "slot-1" as UpstreamId })
  )
  const status = Context.get(services as Context.Context<LogStatus>, LogStatus)
  const log = Context.get(services, EventLog)
  const bench: Bench = {
    database,
    url,
    device: device.id,
    script,
    refusals: Context.get(services, WebhookRefusals),
    send: (...ids) =>
      Effect.map(post(url, { slot: "slot-1", ids }, { secret }), ({ body, status }) => ({
        status,
        tag: body._tag ?? body.status
      })),
    waiting: (events) =>
      until(`${events} events wait`, Effect.map(status.view, ({ waiting }) => waiting.events >= events)),
    logged: log.read({ after: 0, limit: 1000 }).pipe(
      Effect.map(({ events }) => events.map(({ data }) => (JSON.parse(data) as { readonly waId: string }).waId)),
      Effect.orDie
    )
  }
  // From now on the slot is cached, without the database.
  assert.strictEqual((yield* bench.send("first")).status, 200)
  return bench
})

const elapsed = <A>(effect: Effect.Effect<A>) =>
  Effect.gen(function*() {
    const before = performance.now()
    return { value: yield* effect, millis: performance.now() - before }
  })

it.live("a short database outage delays the answer, and causes no refusal", () =>
  Effect.gen(function*() {
    const { database, logged, send, waiting } = yield* start
    yield* database.disable
    const sent = yield* Effect.forkChild(send("A"))
    yield* waiting(1)
    yield* database.enable
    assert.deepStrictEqual(yield* Fiber.join(sent), { status: 200, tag: "accepted" })
    assert.deepStrictEqual(yield* logged, ["first", "A"])
  }))

it.live("a long outage is a 503 in time, at once when there is no room, and a retry is one event", () =>
  Effect.gen(function*() {
    const { database, device, logged, refusals, script, send, waiting } = yield* start
    yield* database.disable
    // A batch that is being written cannot be withdrawn. Later events could be.
    const ahead = yield* Effect.forkChild(elapsed(send("ahead")))
    yield* waiting(1)
    const late = yield* Effect.forkChild(elapsed(send("never sent again")))
    yield* waiting(2)
    const tried = yield* Effect.forkChild(elapsed(send("A")))
    yield* waiting(3)
    const many = yield* Effect.forkChild(Effect.forEach(
      Array.from({ length: 21 }),
      (_, index) => send(...Array.from({ length: 500 }, (_, number) => `many ${index}.${number}`)),
      { concurrency: "unbounded" }
    ))
    yield* waiting(10_001)
    const refused = yield* elapsed(send("B"))
    assert.deepStrictEqual(refused.value, { status: 503, tag: "WebhookNoRoom" })
    assert.isBelow(refused.millis, 2000)
    for (const fiber of [ahead, late, tried]) {
      const { millis, value } = yield* Fiber.join(fiber)
      assert.deepStrictEqual(value, { status: 503, tag: "WebhookTooLate" })
      assert.isBelow(millis, 10_000)
    }
    yield* Fiber.join(many)
    // Refused webhooks are reported to the device's actor, or recorded for the process that runs it.
    assert.deepStrictEqual([...new Set(script.refused)], [device])
    script.hosts = false
    assert.strictEqual((yield* send("B")).status, 503)
    const again = yield* Effect.forkChild(send("A"))
    yield* database.enable
    // It waited for the commit of the first one, or came after it.
    assert.deepInclude([200, 503], (yield* Fiber.join(again)).status)
    yield* until("the log takes events again", Effect.map(send("B"), ({ status }) => status === 200))
    assert.deepStrictEqual(yield* send("A"), { status: 200, tag: "repeated" })
    yield* until(
      "it is written down for the device's process",
      Effect.map(Effect.orDie(refusals.list), (all) => all.some(({ deviceId }) => deviceId === device))
    )
    const ids = yield* logged
    assert.deepStrictEqual(ids.slice(0, 4), ["first", "ahead", "never sent again", "A"])
  }))

it.live("a silent database makes known slots wait, and refuses unknown ones in time", () =>
  Effect.gen(function*() {
    const { database, logged, send, url, waiting } = yield* start
    const thaw = [
      database.add("upstream", { type: "timeout", millis: 0 }),
      database.add("downstream", { type: "timeout", millis: 0 })
    ]
    const known = yield* Effect.forkChild(send("A"))
    yield* waiting(1)
    const unknown = yield* elapsed(post(url, { slot: "slot-2", ids: ["C"] }, { secret }))
    assert.deepStrictEqual([unknown.value.status, unknown.value.body._tag], [503, "WebhookNoDatabase"])
    assert.isBelow(unknown.millis, 8000)
    for (const remove of thaw) remove()
    yield* database.disable
    yield* database.enable
    assert.deepStrictEqual(yield* Fiber.join(known), { status: 200, tag: "accepted" })
    assert.deepStrictEqual(yield* logged, ["first", "A"])
  }))
