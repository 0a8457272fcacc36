/** API keys that are rows: created, used, rotated, revoked and expired, in the answering process and in another one. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { ApiKeyRepository } from "../../src/services/ApiKeyRepository.ts"
import { keyPattern } from "../../src/services/apiKeyText.ts"
import { openSse } from "../support/sse.ts"
import { ask, makeStorage, startServer } from "../support/surface.ts"
import type { Json, Key } from "../support/surface.ts"
import { untilSo } from "../support/until.ts"

const root: Key = ["root", ["read", "send", "manage", "admin"], "key-of-the-environment"]

const calls = (url: string, key = "key-of-the-environment") => (path: string, init: Json = {}) =>
  ask(`${url}/api/v1${path}`, { ...init, headers: { authorization: `Bearer ${key}`, ...init.headers } })

const post = (json: unknown) => ({ method: "POST", json })

/** A server with one key of the environment, and one that was created with it. */
const setUp = (wanted: Json = { name: "shop", scopes: ["read"] }) =>
  Effect.gen(function*() {
    const storage = yield* makeStorage
    const server = yield* startServer({ storage, keys: [root] })
    const as = calls(server.url)
    const { body: made, status } = yield* as("/keys", post(wanted))
    assert.strictEqual(status, 201, JSON.stringify(made))
    return { ...server, storage, as, made, shop: calls(server.url, made.key) }
  })

const openSocket = (url: string, headers: Record<string, string>) =>
  Effect.gen(function*() {
    const closed = yield* Deferred.make<void>()
    const socket = yield* Effect.callback<WebSocket>((resume) => {
      const socket = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`, { headers } as never)
      socket.addEventListener("open", () => resume(Effect.succeed(socket)))
      socket.addEventListener("error", () => resume(Effect.die("the socket was not opened")))
      socket.addEventListener("close", () => Deferred.doneUnsafe(closed, Effect.void))
    })
    yield* Effect.addFinalizer(() => Effect.sync(() => socket.close()))
    return { socket, closed: Deferred.await(closed) }
  })

describe("an API key", () => {
  it.live("is returned once, allows what its scopes allow, and is listed without its text", () =>
    Effect.gen(function*() {
      const { as, made, shop, storage } = yield* setUp()
      assert.match(made.key, keyPattern)
      assert.include(made.key, made.id.slice("key_".length))
      assert.strictEqual((yield* shop("/devices")).status, 200)
      assert.strictEqual((yield* shop("/devices", post({ name: "a" }))).status, 403)
      assert.strictEqual((yield* shop("/server/caller")).body.name, "shop")
      const list = (yield* as("/keys")).body
      const { key, ...shown } = made
      assert.deepStrictEqual(list, { items: [shown], next: null })
      assert.deepStrictEqual((yield* as(`/keys/${made.id}`)).body, shown)
      const secret = key.split("_").at(-1)
      const rows = yield* ApiKeyRepository.pipe(Effect.flatMap(({ list }) => list), Effect.provide(storage))
      for (
        const told of [
          list,
          rows.map(({ digest, ...row }) => ({ ...row, digest: Buffer.from(digest).toString("hex") }))
        ]
      ) {
        assert.notInclude(JSON.stringify(told), secret)
      }
    }))

  it.live("is accepted by another process, and refused there after it was revoked", () =>
    Effect.gen(function*() {
      const { as, made, storage } = yield* setUp()
      const other = yield* startServer({ storage, keys: [root] })
      const there = calls(other.url, made.key)
      assert.strictEqual((yield* there("/devices")).status, 200)
      const sse = yield* openSse(`${other.url}/api/v1/events`, { authorization: `Bearer ${made.key}` })
      assert.strictEqual((yield* as(`/keys/${made.id}`, { method: "DELETE" })).status, 204)
      assert.isNull(yield* sse.next)
      const refused = yield* there("/devices")
      assert.deepStrictEqual([refused.status, refused.body._tag], [401, "Unauthorized"])
      assert.strictEqual((yield* as(`/keys/${made.id}`)).status, 404)
    }))

  it.live("ends its streams and WebSockets when it is revoked, and those of no other key", () =>
    Effect.gen(function*() {
      const { as, made, url } = yield* setUp()
      const { body: other } = yield* as("/keys", post({ name: "other", scopes: ["read"] }))
      const headers = (key: string) => ({ authorization: `Bearer ${key}` })
      const sse = yield* openSse(`${url}/api/v1/events`, headers(made.key))
      const opened = yield* openSocket(url, headers(made.key))
      const late = yield* openSocket(url, {})
      const bystander = yield* openSocket(url, headers(other.key))
      late.socket.send(
        `${
          JSON.stringify({
            _tag: "Request",
            id: "1",
            tag: "Server.Ping",
            payload: {},
            headers: Object.entries(headers(made.key))
          })
        }\n`
      )
      yield* Effect.callback<void>((resume) => {
        late.socket.addEventListener("message", () => resume(Effect.void))
      })
      const client = Context.get(
        yield* Layer.build(ColumbaClient.layer({ url, apiKey: made.key })),
        ColumbaClient
      )
      const began = yield* Deferred.make<void>()
      const watching = yield* client.events.follow({}).pipe(
        Stream.tap(() => Deferred.succeed(began, undefined)),
        Stream.runDrain,
        Effect.flip,
        Effect.forkChild
      )
      yield* Deferred.await(began)
      yield* as(`/keys/${made.id}`, { method: "DELETE" })
      assert.isNull(yield* sse.next)
      yield* opened.closed
      yield* late.closed
      assert.strictEqual((yield* Fiber.join(watching))._tag, "Unauthorized")
      assert.strictEqual(bystander.socket.readyState, WebSocket.OPEN)
    }))

  it.live("that revokes itself is answered, whatever the transport", () =>
    Effect.gen(function*() {
      const { as, url } = yield* setUp()
      for (const layer of [ColumbaClient.layer, ColumbaClient.layerHttp]) {
        const { body: made } = yield* as("/keys", post({ name: "self", scopes: ["read", "admin"] }))
        const connect = (apiKey: string) =>
          Effect.map(Layer.build(Layer.fresh(layer({ url, apiKey, retryFor: 0 }))), (built) =>
            Context.get(built, ColumbaClient))
        const { key } = yield* Effect.flatMap(connect(made.key), ({ keys }) =>
          keys.rotate({ id: made.id, keepSeconds: 0 }))
        assert.strictEqual((yield* calls(url, made.key)("/devices")).status, 401)
        yield* Effect.flatMap(connect(Redacted.value(key)), ({ keys }) =>
          keys.revoke({ id: made.id }))
        assert.strictEqual((yield* calls(url, Redacted.value(key))("/devices")).status, 401)
      }
    }))

  it.live("is replaced by a rotation, and the previous one stays valid for the requested time", () =>
    Effect.gen(function*() {
      const { as, made, shop, url } = yield* setUp({ name: "shop", scopes: ["read"], requestsPerSecond: 900 })
      const sse = yield* openSse(`${url}/api/v1/events`, { authorization: `Bearer ${made.key}` })
      const { body: rotated } = yield* as(`/keys/${made.id}/rotate`, post({ keepSeconds: 60 }))
      assert.notStrictEqual(rotated.key, made.key)
      assert.deepInclude(rotated, { id: made.id, name: "shop", scopes: ["read"], requestsPerSecond: 900 })
      for (const key of [made.key, rotated.key]) assert.strictEqual((yield* calls(url, key)("/devices")).status, 200)
      const { body: last } = yield* as(`/keys/${made.id}/rotate`, post({ keepSeconds: 0 }))
      assert.isNull(yield* sse.next)
      for (const [key, status] of [[made.key, 401], [rotated.key, 401], [last.key, 200]] as const) {
        assert.strictEqual((yield* calls(url, key)("/devices")).status, status)
      }
      assert.strictEqual((yield* shop("/devices")).status, 401)
    }))

  it.live("is not accepted after its expiry", () =>
    Effect.gen(function*() {
      const expiresAt = new Date(Date.now() + 1_500).toISOString()
      const { as, made, shop } = yield* setUp({ name: "brief", scopes: ["read"], expiresAt })
      assert.strictEqual((yield* shop("/devices")).status, 200)
      const refused = yield* untilSo("it has expired", shop("/devices"), ({ status }) => status !== 200)
      assert.strictEqual(refused.status, 401)
      assert.isAtLeast(Date.now(), Date.parse(expiresAt))
      assert.strictEqual((yield* as("/keys")).body.items[0].id, made.id)
      for (const expiresAt of ["2020-01-01T00:00:00Z", "soon"]) {
        const { body, status } = yield* as("/keys", post({ name: "late", scopes: ["read"], expiresAt }))
        assert.deepStrictEqual([status, body._tag], [422, "ExpiryPassed"])
      }
    }))

  it.live("sees only its devices if limited, and then may not create, list or revoke keys even with the scope", () =>
    Effect.gen(function*() {
      const { as, url } = yield* setUp()
      const { body: mine } = yield* as("/devices", post({ name: "mine" }))
      const { body: other } = yield* as("/devices", post({ name: "other" }))
      const { body: made } = yield* as("/keys", post({ name: "one", scopes: ["read", "admin"], devices: [mine.id] }))
      const limited = calls(url, made.key)
      assert.deepStrictEqual((yield* limited("/devices")).body.items.map(({ id }: { id: DeviceId }) => id), [mine.id])
      assert.strictEqual((yield* limited(`/devices/${other.id}`)).status, 404)
      assert.strictEqual((yield* limited("/keys")).status, 403)
      assert.strictEqual((yield* limited("/keys", post({ name: "more", scopes: ["read"] }))).status, 403)
      assert.strictEqual((yield* limited(`/keys/${made.id}`, { method: "DELETE" })).status, 403)
    }))

  it.live("cannot give a scope that it does not have to another key, be it new or rotated", () =>
    Effect.gen(function*() {
      const { as, made, url } = yield* setUp({ name: "admin", scopes: ["admin", "read"] })
      const admin = calls(url, made.key)
      const refused = yield* admin("/keys", post({ name: "more", scopes: ["read", "manage"] }))
      assert.deepStrictEqual([refused.status, refused.body._tag, refused.body.scope], [403, "ScopeNotHeld", "manage"])
      assert.strictEqual((yield* admin("/keys", post({ name: "less", scopes: ["read"] }))).status, 201)
      const { body: strong } = yield* as("/keys", post({ name: "strong", scopes: ["manage"] }))
      assert.strictEqual((yield* admin(`/keys/${strong.id}/rotate`, post({}))).body._tag, "ScopeNotHeld")
      assert.strictEqual((yield* calls(url, strong.key)("/devices", post({ name: "a" }))).status, 201)
    }))

  it.live("has a unique name, also compared with the keys of the environment", () =>
    Effect.gen(function*() {
      const { as } = yield* setUp()
      for (const name of ["shop", "root"]) {
        const { body, status } = yield* as("/keys", post({ name, scopes: ["read"] }))
        assert.deepStrictEqual([status, body._tag], [409, "ApiKeyNameTaken"], name)
      }
    }))

  it.live("is not created by a server that requires no key", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const { body, status } = yield* ask(`${url}/api/v1/keys`, post({ name: "shop", scopes: ["read"] }))
      assert.deepStrictEqual([status, body._tag], [409, "KeysNotAsked"])
    }))

  it.live("is accepted by a server that starts after it was created", () =>
    Effect.gen(function*() {
      const { as, made, storage } = yield* setUp()
      const next = yield* startServer({ storage, keys: [root] })
      assert.strictEqual((yield* calls(next.url, made.key)("/devices")).status, 200)
      const unknown = yield* as(`/keys/key_${"0".repeat(26)}`)
      assert.deepStrictEqual([unknown.status, unknown.body._tag], [404, "ApiKeyNotFound"])
    }))
})
