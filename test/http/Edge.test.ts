/** The checks that every request passes, whatever its route. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer } from "effect"
import { HttpServerRequest } from "effect/http"
import { TestClock } from "effect/testing"
import { request } from "node:http"
import { connect } from "node:net"
import { Draining } from "../../src/http/Draining.ts"
import { answerTimeout, guard } from "../../src/http/Edge.ts"
import { CallerSockets } from "../../src/http/CallerSockets.ts"
import { isLoopback } from "../../src/services/ApiKeys.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import type { Json } from "../support/surface.ts"
import { ask, startServer } from "../support/surface.ts"

/** `fetch` chooses `Host` itself; this does not. */
const askRaw = (url: string, headers: Record<string, string>, method = "GET") =>
  Effect.callback<{ readonly status: number; readonly body: Json }>((resume) => {
    const call = request(url, { method, headers }, (response) => {
      const chunks: Array<Buffer> = []
      response.on("data", (chunk) => chunks.push(chunk))
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString()
        resume(Effect.succeed({ status: response.statusCode!, body: text.startsWith("{") ? JSON.parse(text) : text }))
      })
    })
    call.on("upgrade", (response, socket) => {
      socket.destroy()
      resume(Effect.succeed({ status: response.statusCode!, body: "" }))
    })
    call.on("error", (error) => resume(Effect.die(error)))
    call.end()
  })

const upgrade = {
  connection: "Upgrade",
  upgrade: "websocket",
  "sec-websocket-version": "13",
  "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="
}

describe("the edge", () => {
  it.live("answers unknown paths and unknown methods differently, as JSON, with the allowed methods", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const nothing = yield* ask(`${url}/api/v1/nothing`)
      assert.strictEqual(nothing.status, 404)
      assert.strictEqual(nothing.body._tag, "RouteNotFound")
      for (
        const [path, method, allow] of [
          ["/api/v1/devices", "PUT", "POST, GET"],
          ["/api/v1/events", "DELETE", "GET"],
          ["/healthz", "POST", "GET"],
          ["/rpc", "GET", "POST"]
        ] as const
      ) {
        const answer = yield* ask(url + path, { method })
        assert.strictEqual(answer.status, 405, path)
        assert.strictEqual(answer.body._tag, "MethodNotAllowed")
        assert.sameMembers(answer.headers.get("allow")!.split(", "), allow.split(", "))
      }
    }))

  it.live("reports undecodable values field by field, and refuses unknown fields", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const devices = `${url}/api/v1/devices`
      const invalid = Effect.fnUntraced(function*(call: ReturnType<typeof ask>) {
        const { body, status } = yield* call
        assert.strictEqual(status, 400)
        assert.strictEqual(body._tag, "RequestInvalid")
        assert.isAbove(body.message.length, 10)
        return body.issues as ReadonlyArray<{ path: ReadonlyArray<string>; message: string }>
      })
      assert.deepStrictEqual(
        (yield* invalid(ask(devices, { method: "POST", json: { name: "", gateway: "No Good" } }))).map(({ path }) =>
          path
        ),
        [["payload", "name"], ["payload", "gateway"]]
      )
      assert.deepStrictEqual(
        (yield* invalid(ask(devices, { method: "POST", json: { name: "a", nmae: "b" } })))[0]!.path,
        ["payload", "nmae"]
      )
      assert.deepStrictEqual((yield* invalid(ask(`${devices}?stat=Online`)))[0]!.path, ["query", "stat"])
      assert.deepStrictEqual((yield* invalid(ask(`${devices}?limit=0`)))[0]!.path, ["query", "limit"])
      assert.deepStrictEqual((yield* invalid(ask(`${devices}/not-an-id`)))[0]!.path, ["params", "id"])
      yield* invalid(ask(devices, { method: "POST", body: "{", headers: { "content-type": "application/json" } }))
      yield* invalid(ask(devices, { method: "POST", headers: { "content-type": "application/json" } }))
      yield* invalid(ask(`${url}/api/v1/events?kind=Not%20A%20Kind`))
    }))

  it.live("refuses a body with another type than JSON with 415", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const answer = yield* ask(`${url}/api/v1/devices`, { method: "POST", body: "name=a" })
      assert.strictEqual(answer.status, 415)
      assert.strictEqual(answer.body._tag, "MediaTypeUnknown")
    }))

  it.live("refuses a body over 1 MiB with 413, with or without a length, on every way in", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      const large = "x".repeat(1024 * 1024 + 1)
      for (const path of ["/api/v1/devices", "/rpc"]) {
        const announced = yield* ask(url + path, { method: "POST", json: { name: large } })
        assert.deepStrictEqual([announced.status, announced.body._tag], [413, "BodyTooLarge"], path)
        const chunked = yield* ask(url + path, {
          method: "POST",
          body: new Blob([JSON.stringify({ name: large })]).stream(),
          headers: { "content-type": "application/json" },
          duplex: "half"
        } as RequestInit)
        assert.deepStrictEqual([chunked.status, chunked.body._tag], [413, "BodyTooLarge"], path)
      }
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
    }))

  it.live("answers a defect with a 500 that reveals nothing", () =>
    Effect.gen(function*() {
      const broken = Layer.effect(
        EventLog,
        Effect.map(EventLog, (log) =>
          EventLog.of({ ...log, bounds: Effect.die(new Error("password=secret at /srv/x.ts:1")) }))
      ).pipe(Layer.provideMerge(MemoryStorage.layerMemory)) as typeof MemoryStorage.layerMemory
      const { url } = yield* startServer({ storage: broken })
      const answer = yield* ask(`${url}/api/v1/events`)
      assert.strictEqual(answer.status, 500)
      assert.deepStrictEqual(Object.keys(answer.body).sort(), ["_tag", "message"])
      assert.strictEqual(answer.body._tag, "InternalError")
      assert.notInclude(JSON.stringify(answer.body), "secret")
      const rpc = yield* ask(`${url}/rpc`, {
        method: "POST",
        body: `${JSON.stringify({ _tag: "Request", id: "1", tag: "Events.Page", payload: {}, headers: [] })}\n`,
        headers: { "content-type": "application/x-ndjson" }
      })
      assert.include(JSON.stringify(rpc.body), "Die")
      assert.notInclude(JSON.stringify(rpc.body), "secret")
    }))

  it.live("answers an unreadable RPC without details of what it expects", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys: [["a", ["read"], "key"]] })
      const request = { _tag: "Request", id: "1", headers: [] }
      for (
        const body of [
          { ...request, tag: "Devices.Get", payload: { id: "nonsense" } },
          { ...request, tag: "Devices.Get", payload: null },
          { ...request, tag: "Devices.Nothing", payload: {} },
          { ...request, id: null, tag: "Devices.Get", payload: {} },
          { _tag: "Nothing" }
        ]
      ) {
        const answer = yield* ask(`${url}/rpc`, {
          method: "POST",
          body: `${JSON.stringify(body)}\n`,
          headers: { "content-type": "application/x-ndjson" }
        })
        const text = JSON.stringify(answer.body)
        assert.include(text, "RequestInvalid", JSON.stringify(body))
        assert.notMatch(text, /Expected|Unknown|Invalid request id|dev_/, JSON.stringify(body))
      }
    }))

  it.live("sends with every answer the headers that keep browsers from guessing types and framing pages", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer()
      for (const path of ["/", "/healthz", "/docs", "/api/v1/devices", "/nothing"]) {
        const { headers } = yield* ask(url + path)
        assert.strictEqual(headers.get("x-content-type-options"), "nosniff", path)
        assert.strictEqual(headers.get("x-frame-options"), "DENY", path)
        assert.include(headers.get("content-security-policy"), "frame-ancestors 'none'", path)
        assert.isNotNull(headers.get("cache-control"), path)
      }
    }))

  it.live("refuses foreign host names and foreign origins on a server without keys", () =>
    Effect.gen(function*() {
      const { port, url } = yield* startServer()
      const host = `127.0.0.1:${port}`
      const refusedBy = Effect.fnUntraced(function*(path: string, headers: Record<string, string>, method = "GET") {
        const answer = yield* askRaw(url + path, headers, method)
        return answer.status === 403 ? answer.body._tag : answer.status
      })
      assert.strictEqual(yield* refusedBy("/api/v1/devices", { host: "evil.example" }), "HostRefused")
      assert.strictEqual(yield* refusedBy("/api/v1/devices", { host: `localhost:${port}` }), 200)
      const foreign = { host, origin: "http://evil.example" }
      const own = { host, origin: `http://${host}` }
      assert.strictEqual(yield* refusedBy("/rpc/ws", { ...foreign, ...upgrade }), "OriginRefused")
      assert.strictEqual(yield* refusedBy("/rpc/ws", { ...own, origin: "null", ...upgrade }), "OriginRefused")
      assert.strictEqual(yield* refusedBy("/rpc/ws", { ...own, ...upgrade }), 101)
      assert.strictEqual(yield* refusedBy("/rpc/ws", { host, ...upgrade }), 101)
      assert.strictEqual(yield* refusedBy("/rpc", foreign, "POST"), "OriginRefused")
      assert.strictEqual(
        yield* refusedBy("/api/v1/devices/dev_00000000000000000000000000", foreign, "DELETE"),
        "OriginRefused"
      )
    }))

  it.live("refuses an invalid or misdirected WebSocket handshake without harm to other requests", () =>
    Effect.gen(function*() {
      const { port, url } = yield* startServer()
      const host = `127.0.0.1:${port}`
      const { "sec-websocket-key": _, ...keyless } = upgrade
      assert.strictEqual((yield* askRaw(`${url}/rpc/ws`, { host, ...keyless })).status, 400)
      assert.strictEqual((yield* askRaw(`${url}/rpc/ws`, { host })).status, 400)
      const elsewhere = yield* askRaw(`${url}/nothing`, { host, ...upgrade })
      assert.deepStrictEqual([elsewhere.status, elsewhere.body._tag], [404, "RouteNotFound"])
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
    }))

  it.live("ignores the host name on a server with keys", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys: [["a", ["read"], "key"]] })
      const answer = yield* askRaw(`${url}/api/v1/devices`, { host: "columba.example", "x-api-key": "key" })
      assert.strictEqual(answer.status, 200)
    }))

  it.live("lets pages of configured origins call with a key, and no others", () =>
    Effect.gen(function*() {
      const origin = "https://app.example"
      const { url } = yield* startServer({ keys: [["a", ["read"], "key"]], corsOrigins: [origin] })
      const devices = `${url}/api/v1/devices`
      const preflight = (from: string) =>
        ask(devices, {
          method: "OPTIONS",
          headers: {
            origin: from,
            "access-control-request-method": "POST",
            "access-control-request-headers": "authorization, content-type"
          }
        })
      const allowed = yield* preflight(origin)
      assert.strictEqual(allowed.status, 204)
      assert.strictEqual(allowed.headers.get("access-control-allow-origin"), origin)
      assert.include(allowed.headers.get("access-control-allow-methods"), "POST")
      const headers = allowed.headers.get("access-control-allow-headers")?.toLowerCase().split(/, ?/)
      assert.includeMembers(headers ?? [], ["authorization", "content-type", "traceparent", "b3"])
      assert.isNull((yield* preflight("https://evil.example")).headers.get("access-control-allow-origin"))

      const read = yield* ask(devices, { headers: { origin, authorization: "Bearer key" } })
      assert.deepStrictEqual([read.status, read.headers.get("access-control-allow-origin")], [200, origin])
      // Without the header the page could not even see that its key is missing.
      const keyless = yield* ask(devices, { headers: { origin } })
      assert.deepStrictEqual([keyless.status, keyless.headers.get("access-control-allow-origin")], [401, origin])
      const stream = yield* ask(`${url}/api/v1/events?after=9`, {
        headers: { origin, authorization: "Bearer key", accept: "text/event-stream" }
      })
      assert.deepStrictEqual([stream.status, stream.headers.get("access-control-allow-origin")], [410, origin])
    }))

  it.live("lets no origin call unless it is configured", () =>
    Effect.gen(function*() {
      const { url } = yield* startServer({ keys: [["a", ["read"], "key"]] })
      for (const method of ["OPTIONS", "GET"]) {
        const { headers } = yield* ask(`${url}/api/v1/devices`, {
          method,
          headers: { origin: "https://app.example", authorization: "Bearer key" }
        })
        assert.isNull(headers.get("access-control-allow-origin"), method)
      }
    }))

  it.live("answers a request that is not HTTP with 400, without harm to other requests", () =>
    Effect.gen(function*() {
      const { port, url } = yield* startServer()
      const said = yield* Effect.callback<string>((resume) => {
        const socket = connect(port, "127.0.0.1", () => socket.write("no http\r\n\r\n"))
        let text = ""
        socket.on("data", (chunk) => {
          text += chunk
        })
        socket.on("close", () => resume(Effect.succeed(text)))
      })
      assert.match(said, /^HTTP\/1\.1 400/)
      assert.strictEqual((yield* ask(`${url}/healthz`)).status, 200)
    }))

  it.effect("aborts an answer that does not start in time, and interrupts its work", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const routes = Effect.never.pipe(Effect.onInterrupt(() => Deferred.succeed(interrupted, undefined)))
      const draining = yield* Draining
      const sockets = yield* CallerSockets
      const answering = yield* guard(routes, {
        open: false,
        findKey: () => null,
        methodsAt: () => [],
        draining,
        sockets,
        corsOrigins: []
      }).pipe(
        Effect.provideService(
          HttpServerRequest.HttpServerRequest,
          HttpServerRequest.fromWeb(new Request("http://localhost/api/v1/devices"))
        ),
        Effect.forkChild
      )
      yield* TestClock.adjust(answerTimeout)
      assert.strictEqual((yield* Fiber.join(answering)).status, 503)
      yield* Deferred.await(interrupted)
    }).pipe(Effect.provide(Layer.merge(Draining.layer, CallerSockets.layer))))

  it("distinguishes loopback host names from those that others can reach", () => {
    for (const host of ["127.0.0.1", "localhost", "::1", "[::1]", "127.9.9.9", "::ffff:127.0.0.1"]) {
      assert.isTrue(isLoopback(host), host)
    }
    for (const host of ["0.0.0.0", "::", "10.0.0.1", "columba.example", "127.0.0.1.evil.example", ""]) {
      assert.isFalse(isLoopback(host), host)
    }
  })

  it.live("ends open streams at once when the server stops", () =>
    Effect.gen(function*() {
      const server = yield* startServer()
      const stream = yield* Effect.promise(() =>
        fetch(`${server.url}/api/v1/events`, { headers: { accept: "text/event-stream" } })
      )
      assert.strictEqual(stream.status, 200)
      const before = performance.now()
      const [text] = yield* Effect.all([Effect.promise(() => stream.text()), server.stop], { concurrency: 2 })
      assert.match(text, /^retry: /)
      assert.isBelow(performance.now() - before, 3000)
      assert.isDefined(Context.get(server.services, EventLog))
    }))
})
