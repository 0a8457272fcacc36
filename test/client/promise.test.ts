/** The client for programs without Effect: plain JSON in promises and loops, over the same code. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer } from "effect"
import type { Scope } from "effect"
import * as client from "../../src/client/index.ts"
import { beginning, connect, isFailure } from "../../src/client/promise.ts"
import type { ConnectOptions, PlainEvent, PromiseColumba } from "../../src/client/promise.ts"
import { operations } from "../../src/contracts/Operations.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { ask, makeStorage, messageDraft, services, startServer } from "../support/surface.ts"

const device = "dev_00000000000000000000000001" as DeviceId

const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => from + index)

const append = (log: EventLog["Service"], from: number, to: number) =>
  log.append(numbers(from, to).map((number) => messageDraft(device, number)))

const open = (options: ConnectOptions): Effect.Effect<PromiseColumba, never, Scope.Scope> =>
  Effect.acquireRelease(Effect.sync(() => connect(options)), (columba) => Effect.promise(columba.close))

const failureOf = (promise: Promise<unknown>) =>
  Effect.promise(() =>
    promise.then(
      () => assert.fail("it did not fail"),
      (error: unknown) => isFailure(error) ? error : assert.fail(`no failure of the client: ${String(error)}`)
    )
  )

describe.for(["websocket", "http"] as const)("the client for promises over %s", (transport) => {
  it.live("returns and accepts the same JSON as the HTTP API", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      yield* append(Context.get(services, EventLog), 1, 2)
      const columba = yield* open({ url, transport })
      const created = yield* Effect.promise(() => columba.devices.create({ name: "Shop" }))
      const get = (path: string) => Effect.map(ask(`${url}/api/v1${path}`), ({ body }) => body)
      assert.deepStrictEqual(created, yield* get(`/devices/${created.id}`))
      // A field that is undefined counts as omitted.
      const page = yield* Effect.promise(() => columba.events.page({ after: undefined as never }))
      assert.deepStrictEqual(page, yield* get("/events"))
      assert.strictEqual(page.items[0]?.seq, "1")
      const added = yield* Effect.promise(() =>
        columba.gateways.create({ name: "second", url: "http://127.0.0.1:1", dialect: "bridge", password: "secret" })
      )
      assert.deepStrictEqual(added, yield* get("/gateways/second"))
      assert.isUndefined(yield* Effect.promise(() => columba.gateways.remove({ name: "second" })))
    }))

  it.live("rejects with the typed error itself, also for invalid arguments", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys: [["reader", ["read"], "secret"]] })
      const columba = yield* open({ url, transport, apiKey: "secret" })
      const missing = yield* failureOf(columba.devices.get({ id: device }))
      assert.deepInclude(missing, { _tag: "DeviceNotFound", id: device })
      assert.instanceOf(missing, client.DeviceNotFound)
      assert.strictEqual((yield* failureOf(columba.devices.create({ name: "a" })))._tag, "Forbidden")
      const invalid = yield* failureOf(columba.devices.get({ id: "nonsense" }))
      assert.deepInclude(invalid, { _tag: "RequestInvalid", message: "payload.id: Expected a device id like dev_01K…" })
      const stranger = yield* open({ url, transport })
      const drained = (async () => {
        for await (const item of stranger.events.follow()) assert.fail(item._tag)
      })()
      assert.strictEqual((yield* failureOf(drained))._tag, "Unauthorized")
    }))

  it.live("resumes loops over events after restarts of the server, without missing or repeated events", () =>
    Effect.gen(function*() {
      const storage = yield* makeStorage
      const log = Context.get(yield* services({ storage }).pipe(Layer.build), EventLog)
      yield* append(log, 1, 30)
      const first = yield* startServer({ storage })
      const columba = yield* open({ url: first.url, transport })
      const seen: Array<string> = []
      const some = Promise.withResolvers<void>()
      const loop = (async () => {
        for await (const item of columba.events.follow({ after: beginning, kinds: ["message.received"] })) {
          if (item._tag === "Event") seen.push(item.event.seq)
          if (seen.length === 10) some.resolve()
          if (seen.length === 60) break
        }
      })()
      yield* Effect.promise(() => some.promise)
      yield* first.stop
      yield* append(log, 31, 45)
      yield* startServer({ storage, port: first.port })
      yield* append(log, 46, 70)
      yield* Effect.promise(() => loop)
      assert.deepStrictEqual(seen, numbers(1, 60).map(String))
    }))

  it.live("closes the stream of a loop that is left, and throws the signal's reason in a loop whose signal aborts", () =>
    Effect.gen(function*() {
      const { services, url } = yield* startServer()
      yield* append(Context.get(services, EventLog), 1, 3)
      const columba = yield* open({ url, transport })
      const events: Array<PlainEvent> = []
      yield* Effect.promise(async () => {
        for await (const item of columba.events.follow({ after: beginning })) {
          if (item._tag !== "Event") continue
          events.push(item.event)
          break
        }
      })
      assert.strictEqual(events.length, 1)
      const reason = new Error("enough")
      const controller = new AbortController()
      const loop = (async () => {
        for await (const item of columba.watchDevices({ signal: controller.signal })) {
          if (item._tag === "Synced") controller.abort(reason)
        }
      })()
      assert.strictEqual(yield* Effect.promise(() => loop.catch((error: unknown) => error)), reason)
      const late = columba.devices.list({}, { signal: controller.signal })
      assert.strictEqual(yield* Effect.promise(() => late.catch((error: unknown) => error)), reason)
    }))

  it.live("ends loops on close, and fails pending and later calls", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const columba = yield* open({ url: server.url, transport })
      const synced = Promise.withResolvers<void>()
      const loop = (async () => {
        for await (const item of columba.watchDevices()) if (item._tag === "Synced") synced.resolve()
        return "ended"
      })()
      yield* Effect.promise(() => synced.promise)
      yield* server.stop
      const waiting = yield* Effect.forkChild(failureOf(columba.devices.list()), { startImmediately: true })
      yield* Effect.promise(columba.close)
      assert.strictEqual(yield* Effect.promise(() => loop), "ended")
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "ClientClosed")
      assert.strictEqual((yield* failureOf(columba.devices.list()))._tag, "ClientClosed")
    }))
})

describe("the client's exports", () => {
  it("include the class of every error that a call can fail with", () => {
    const tags = operations.flatMap(({ rpc }) =>
      rpc.errorSchema.members.map(({ fields }) => fields._tag.schema.literal)
    )
    assert.deepStrictEqual([...new Set(tags)].filter((tag) => !(tag in client)), [])
  })

  it("report that a runtime without WebSocket needs one, and need none themselves", () => {
    const known = globalThis.WebSocket
    try {
      // As in Node 20.
      Reflect.deleteProperty(globalThis, "WebSocket")
      assert.throws(
        () => Effect.runSync(Effect.scoped(Layer.build(client.ColumbaClient.layer({ url: "http://x" })))),
        /webSocket/
      )
      return connect({ url: "http://127.0.0.1:1" }).close()
    } finally {
      globalThis.WebSocket = known
    }
  })
})
