/** The audit trail: every change and its caller, readable only with the scope `admin`, and without any secret. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { CurrentCaller } from "../../src/contracts/Authorization.ts"
import { operations } from "../../src/contracts/Operations.ts"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import { auditKind } from "../../src/domain/EventKinds.ts"
import { AuditTrail, isAudited } from "../../src/http/AuditTrail.ts"
import { layerMemory } from "../../src/layers/memory/MemoryStorage.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { openSse } from "../support/sse.ts"
import { ask, startServer } from "../support/surface.ts"
import type { Json, Key } from "../support/surface.ts"

const keys: ReadonlyArray<Key> = [
  ["root", ["read", "send", "manage", "admin"], "root-key"],
  ["reader", ["read", "manage"], "reader-key"]
]

const setUp = Effect.gen(function*() {
  const { services: running, url } = yield* startServer({ keys })
  const as = (key: string) => (path: string, init: Json = {}) =>
    ask(`${url}/api/v1${path}`, { ...init, headers: { authorization: `Bearer ${key}`, ...init.headers } })
  const root = as("root-key")
  const trail = (call = root, query = "") =>
    Effect.map(
      call(`/events?${query}`),
      ({ body }) => body.items.filter(({ kind }: Json) => kind === auditKind).map(({ data }: Json) => data)
    )
  return { url, root, reader: as("reader-key"), trail, log: Context.get(running, EventLog) }
})

const post = (json: unknown) => ({ method: "POST", json })

describe("the audit trail", () => {
  it.live("records who changed devices, gateways, keys and subscriptions, and contains no secret", () =>
    Effect.gen(function*() {
      const { reader, root, trail } = yield* setUp
      const secret = "hunter2hunter2hunter2"
      const { body: device } = yield* reader("/devices", post({ name: "Front desk" }))
      yield* reader(`/devices/${device.id}`, { method: "PATCH", json: { name: "Back office" } })
      yield* reader(
        "/gateways",
        post({
          name: "east",
          dialect: "bridge",
          url: `https://user:${secret}@east.example`,
          webhookSecret: secret
        })
      )
      yield* reader("/gateways/east", { method: "PATCH", json: { password: secret } })
      const { body: subscription } = yield* reader(
        "/subscriptions",
        post({ url: `http://127.0.0.1:9/${secret}`, kinds: ["message.ack"], headers: { authorization: secret } })
      )
      const { body: key } = yield* root("/keys", post({ name: "shop", scopes: ["read"], devices: [device.id] }))
      const { body: rotated } = yield* root(`/keys/${key.id}/rotate`, post({}))
      yield* root(`/keys/${key.id}`, { method: "DELETE" })
      yield* reader(`/devices/${device.id}`, { method: "DELETE" })
      const recorded: ReadonlyArray<Json> = yield* trail()
      assert.deepStrictEqual(
        recorded.map(({ by, fields, operation, outcome, subject }) => [by, operation, subject, outcome, fields]),
        [
          ["reader", "Devices.Create", device.id, "done", ["name"]],
          ["reader", "Devices.Edit", device.id, "done", ["name"]],
          ["reader", "Gateways.Create", "east", "done", ["name", "dialect", "url", "webhookSecret"]],
          ["reader", "Gateways.Edit", "east", "done", ["password"]],
          ["reader", "Subscriptions.Create", subscription.id, "done", ["url", "kinds", "headers"]],
          ["root", "Keys.Create", key.id, "done", ["name", "scopes", "devices"]],
          ["root", "Keys.Rotate", key.id, "done", []],
          ["root", "Keys.Revoke", key.id, "done", []],
          ["reader", "Devices.Deactivate", device.id, "done", []]
        ]
      )
      assert.deepStrictEqual(recorded[4]!.values, { kinds: ["message.ack"] })
      assert.deepStrictEqual(recorded[5]!.values, { name: "shop", scopes: ["read"], devices: [device.id] })
      for (const told of [secret, "Front desk", "east.example", key.key, rotated.key, subscription.secret]) {
        assert.notInclude(JSON.stringify(recorded), told)
      }
    }))

  it.live("is readable only with the scope admin, on every way to read", () =>
    Effect.gen(function*() {
      const { reader, root, trail, url } = yield* setUp
      yield* root("/devices", post({ name: "one" }))
      assert.lengthOf(yield* trail(), 1)
      assert.lengthOf(yield* trail(root, `kind=${auditKind}`), 1)
      assert.lengthOf(yield* trail(reader), 0)
      assert.lengthOf(yield* trail(reader, `kind=${auditKind}`), 0)
      assert.strictEqual((yield* reader("/events")).body.next, null)
      const kindOf = Effect.fnUntraced(function*(apiKey: string) {
        const sse = yield* openSse(`${url}/api/v1/events?after=0`, { "x-api-key": apiKey })
        const client = Context.get(yield* Layer.build(Layer.fresh(ColumbaClient.layer({ url, apiKey }))), ColumbaClient)
        const [first] = yield* client.events.follow({ after: "0" as never }).pipe(
          Stream.filter((item) => item._tag === "Event"),
          Stream.take(1),
          Stream.runCollect
        )
        return [(yield* sse.next).kind, first?.event.kind, (yield* client.events.page({})).items[0]?.kind]
      })
      assert.deepStrictEqual(yield* kindOf("root-key"), [auditKind, auditKind, auditKind])
      const { body: device } = yield* root("/devices", post({ name: "two" }))
      yield* root(`/devices/${device.id}/reconnect`, { method: "POST" })
      assert.lengthOf(yield* trail(reader), 0)
    }))

  it.live("is not delivered to subscriptions, which cannot select it either", () =>
    Effect.gen(function*() {
      const { root } = yield* setUp
      const { body, status } = yield* root(
        "/subscriptions",
        post({ url: "http://127.0.0.1:9/", kinds: ["message.ack", auditKind] })
      )
      assert.deepStrictEqual([status, body._tag], [400, "RequestInvalid"])
    }))

  it.live("contains no reads, no refusals, and no callers who send", () =>
    Effect.gen(function*() {
      const { reader, root, trail } = yield* setUp
      const { body: device } = yield* root("/devices", post({ name: "one" }))
      yield* reader("/devices")
      yield* reader("/keys")
      yield* reader("/keys", post({ name: "more", scopes: ["read"] }))
      yield* root("/devices/dev_00000000000000000000000000", { method: "DELETE" })
      yield* root("/devices", post({ name: "" }))
      yield* root(`/devices/${device.id}/messages`, post({ to: "6281298765432", text: "hello" }))
      assert.deepStrictEqual((yield* trail()).map(({ operation }: Json) => operation), ["Devices.Create"])
    }))

  it.live("is empty on a server without keys, which cannot identify callers", () =>
    Effect.gen(function*() {
      const { services: running, url } = yield* startServer()
      yield* ask(`${url}/api/v1/devices`, post({ name: "one" }))
      assert.strictEqual((yield* Context.get(running, EventLog).bounds).head, 0)
    }))

  it.effect("is on disk before a change is answered, and records changes that were cut off or failed on the way", () =>
    Effect.gen(function*() {
      const log = yield* EventLog
      const { audit } = yield* AuditTrail
      const recorded = Effect.map(
        log.read({ after: 0, limit: 100 }),
        ({ events }) => events.map(({ data }) => JSON.parse(data).outcome)
      )
      const caller = CurrentCaller.of({
        id: "key",
        name: "key",
        scopes: new Set(),
        devices: undefined,
        ended: Effect.never
      })
      const run = <A, E>(change: Effect.Effect<A, E>) =>
        audit({ name: "Devices.Edit", audited: [], endpoint: { path: "/devices/:id" } }, { id: "dev" }, change).pipe(
          Effect.provideService(CurrentCaller, caller)
        )
      yield* run(Effect.void)
      assert.deepStrictEqual(yield* recorded, ["done"])
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run(Effect.fail(StorageUnavailable.of("change"))))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(run(Effect.die("a defect")))))
      const begun = yield* Deferred.make<void>()
      const running = yield* Effect.forkChild(run(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never)))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(running)
      const refused = yield* Effect.exit(run(Effect.fail({ _tag: "DeviceNotFound" })))
      assert.isTrue(Exit.isFailure(refused) && !Cause.hasInterrupts(refused.cause))
      yield* log.flush
      assert.deepStrictEqual(yield* recorded, ["done", "unknown", "unknown", "unknown"])
    }).pipe(Effect.provide(Layer.provideMerge(AuditTrail.layer, layerMemory))))

  it("contains no value of any operation that may be secret", () => {
    // Whoever adds a value states here why it may be in the log for as long as the log is kept.
    assert.deepStrictEqual(
      new Set(operations.flatMap(({ audited }) => audited)),
      new Set([
        "name",
        "scopes",
        "devices",
        "expiresAt",
        "requestsPerSecond",
        "keepSeconds",
        "kinds",
        "rateLimit",
        "from",
        "paused"
      ])
    )
    assert.deepStrictEqual(operations.filter(({ audited }) => audited.includes("name")).map(({ name }) => name), [
      "Keys.Create"
    ])
    for (const operation of operations) if (operation.audited.length > 0) assert.isTrue(isAudited(operation))
  })
})
