/** WebSockets of a server with keys: without a key few and for a short time; of each key a bounded number. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { Draining } from "../../src/http/Draining.ts"
import { guard } from "../../src/http/Edge.ts"
import {
  authenticationTimeout,
  CallerSockets,
  socketHeader,
  socketsPerKeyMax,
  unauthenticatedMax
} from "../../src/http/CallerSockets.ts"
import { startServer } from "../support/surface.ts"
import { untilSo } from "../support/until.ts"

const keys = [["reader", ["read"], "secret"]] as const

const reader = {
  id: "key_reader",
  name: "reader",
  scopes: new Set(["read"] as const),
  devices: undefined,
  requestsPerSecond: null
}

/** One socket at the edge of a server with keys, kept open by the routes until the test ends it. */
const openAtEdge = (headers: Record<string, string>, revoked = Deferred.makeUnsafe<void>()) =>
  Effect.gen(function*() {
    const opened = yield* Deferred.make<string | undefined>()
    const ended = yield* Deferred.make<void>()
    const routes = HttpServerRequest.HttpServerRequest.pipe(
      Effect.tap((request) => Deferred.succeed(opened, request.headers[socketHeader])),
      Effect.andThen(Effect.never),
      Effect.onInterrupt(() => Deferred.succeed(ended, undefined))
    )
    const answering = yield* guard(routes, {
      open: false,
      findKey: (given) => given["x-api-key"] === "secret" ? { ...reader, ended: Deferred.await(revoked) } : null,
      methodsAt: () => [],
      draining: yield* Draining,
      sockets: yield* CallerSockets,
      corsOrigins: []
    }).pipe(
      Effect.provideService(
        HttpServerRequest.HttpServerRequest,
        HttpServerRequest.fromWeb(
          new Request("http://localhost/rpc/ws", { headers: { upgrade: "websocket", ...headers } })
        )
      ),
      Effect.forkChild
    )
    return { id: yield* Deferred.await(opened), answering, ended: Deferred.await(ended) }
  })

const parts = Layer.merge(Draining.layer, CallerSockets.layer)

const openSocket = (url: string) =>
  Effect.callback<WebSocket | null>((resume) => {
    const socket = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`)
    socket.addEventListener("open", () => resume(Effect.succeed(socket)))
    socket.addEventListener("error", () => resume(Effect.succeed(null)))
  })

describe("a WebSocket on a server with keys", () => {
  it.effect("is closed if no request with a key arrived on it in time", () =>
    Effect.gen(function*() {
      const { answering, ended } = yield* openAtEdge({})
      yield* TestClock.adjust(authenticationTimeout)
      yield* ended
      assert.strictEqual((yield* Fiber.join(answering)).status, 408)
    }).pipe(Effect.scoped, Effect.provide(parts)))

  it.effect("stays open if one arrived, or if it was opened with a key", () =>
    Effect.gen(function*() {
      const sockets = yield* CallerSockets
      const late = yield* openAtEdge({})
      const early = yield* openAtEdge({ "x-api-key": "secret" })
      assert.isFalse(sockets.isWaiting(early.id))
      assert.isTrue(sockets.isWaiting(late.id))
      sockets.authenticated(late.id, { ...reader, ended: Effect.never })
      assert.isFalse(sockets.isWaiting(late.id))
      yield* TestClock.adjust("1 hour")
      for (const { answering } of [late, early]) assert.isUndefined(answering.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(parts)))

  it.effect("is closed when the key with which it was opened, or the first key on it, becomes invalid", () =>
    Effect.gen(function*() {
      const sockets = yield* CallerSockets
      const revoked = yield* Deferred.make<void>()
      const late = yield* openAtEdge({})
      const early = yield* openAtEdge({ "x-api-key": "secret" }, revoked)
      sockets.authenticated(late.id, { ...reader, ended: Deferred.await(revoked) })
      yield* TestClock.adjust("1 hour")
      for (const { answering } of [late, early]) assert.isUndefined(answering.pollUnsafe())
      yield* Deferred.succeed(revoked, undefined)
      // The request that ended the key may have arrived on it, and is answered.
      yield* TestClock.adjust("900 millis")
      for (const { answering } of [late, early]) assert.isUndefined(answering.pollUnsafe())
      yield* TestClock.adjust("100 millis")
      for (const { answering, ended } of [late, early]) {
        yield* ended
        yield* Fiber.join(answering)
      }
    }).pipe(Effect.scoped, Effect.provide(parts)))

  it.effect("is closed when its first request shows that its key has too many, and frees its place", () =>
    Effect.gen(function*() {
      const sockets = yield* CallerSockets
      const places = yield* Scope.make()
      const key = { ...reader, ended: Effect.never }
      for (let count = 0; count < socketsPerKeyMax; count++) {
        assert.isNotNull(yield* Scope.provide(sockets.admit(key), places))
      }
      assert.isNull(yield* sockets.admit(key))
      assert.isNotNull(yield* sockets.admit({ ...key, id: "key_other" }))
      const late = yield* openAtEdge({})
      sockets.authenticated(late.id, key)
      yield* late.ended
      yield* Scope.close(places, Exit.void)
      const next = yield* openAtEdge({})
      sockets.authenticated(next.id, key)
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(next.answering.pollUnsafe())
    }).pipe(Effect.scoped, Effect.provide(parts)))

  it.live(
    "is refused when too many wait for their first request, until they have sent one",
    () =>
      Effect.gen(function*() {
        const { url } = yield* startServer({ keys })
        const opened = yield* Effect.forEach(
          Array.from({ length: unauthenticatedMax }),
          () => openSocket(url),
          { concurrency: 50 }
        )
        yield* Effect.addFinalizer(() => Effect.sync(() => opened.forEach((socket) => socket?.close())))
        assert.notInclude(opened, null)
        assert.isNull(yield* openSocket(url))
        const first = opened[0]!
        const answer = yield* Effect.callback<string>((resume) => {
          first.addEventListener("message", ({ data }) => resume(Effect.succeed(String(data))))
          const headers = [["authorization", "Bearer secret"]]
          first.send(`${JSON.stringify({ _tag: "Request", id: "1", tag: "Server.Ping", payload: {}, headers })}\n`)
        })
        assert.include(answer, "\"Success\"")
        const next = yield* openSocket(url)
        assert.isNotNull(next)
        next?.close()
      })
  )

  it.live("is not closed under an idle client that has a key", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys })
      const opened = yield* Effect.forEach(Array.from({ length: unauthenticatedMax - 1 }), () => openSocket(url), {
        concurrency: 50
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => opened.forEach((socket) => socket?.close())))
      yield* Layer.build(Layer.fresh(ColumbaClient.layer({ url, apiKey: "secret" })))
      // It took the last place, and frees it without a call of its user.
      const next = yield* untilSo("a place is free", openSocket(url), (socket) => socket !== null)
      next?.close()
    }))
})
