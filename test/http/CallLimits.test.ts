/** Keys that call too often, and addresses that send invalid keys. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer } from "effect"
import { TestClock } from "effect/testing"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { CallLimits, failuresBurst, requestsPerSecondDefault } from "../../src/http/CallLimits.ts"
import { socketsPerKeyMax } from "../../src/http/CallerSockets.ts"
import { streamsPerKeyMax } from "../../src/http/OpenStreams.ts"
import { networkOf } from "../../src/http/peer.ts"
import { ask, startServer } from "../support/surface.ts"
import type { Json, Key } from "../support/surface.ts"

const keys: ReadonlyArray<Key> = [["root", ["read", "admin"], "right-key"], ["other", ["read"], "other-key"]]

const callAs = (url: string) => (key: string, path = "/server/ping", init: Json = {}) =>
  ask(`${url}/api/v1${path}`, { ...init, headers: { authorization: `Bearer ${key}` } })

const setUp = Effect.map(startServer({ keys }), ({ url }) => ({ url, call: callAs(url) }))

/** One RPC whose request carries its own headers. */
const callRpc = (url: string, headers: ReadonlyArray<readonly [string, string]>) =>
  ask(`${url}/rpc`, {
    method: "POST",
    headers: { "content-type": "application/x-ndjson" },
    body: `${JSON.stringify({ _tag: "Request", id: "1", tag: "Server.Ping", payload: {}, headers })}\n`
  }).pipe(Effect.map(({ body }) => JSON.stringify(body)))

const openSocket = (url: string, key: string) =>
  Effect.callback<WebSocket | null>((resume) => {
    const socket = new WebSocket(`${url.replace("http", "ws")}/rpc/ws`, { headers: { "x-api-key": key } } as never)
    socket.addEventListener("open", () => resume(Effect.succeed(socket)))
    socket.addEventListener("error", () => resume(Effect.succeed(null)))
  })

describe("invalid keys", () => {
  it.live("are refused with 429 after a number of attempts, on every way in, while a valid key from the same address is answered", () =>
    Effect.gen(function*() {
      const { call, url } = yield* setUp
      for (let guess = 0; guess < failuresBurst; guess++) {
        assert.strictEqual((yield* call(`guess-${guess}`)).status, 401)
        assert.strictEqual((yield* call("right-key")).status, 200)
      }
      const { body, headers, status } = yield* call("guess")
      assert.deepStrictEqual([status, body._tag], [429, "TooManyRequests"])
      assert.strictEqual(headers.get("retry-after"), String(body.retryAfterSeconds))
      assert.strictEqual((yield* ask(`${url}/metrics`, { headers: { "x-api-key": "guess" } })).status, 429)
      assert.include(yield* callRpc(url, [["x-api-key", "guess"]]), "TooManyRequests")
      assert.strictEqual((yield* ask(`${url}/api/v1/server/ping`)).status, 401)
      assert.strictEqual((yield* call("right-key")).status, 200)
      assert.include(yield* callRpc(url, [["x-api-key", "right-key"]]), "Success")
      const figures = yield* ask(`${url}/metrics`, { headers: { "x-api-key": "right-key" } })
      assert.match(figures.body, /columba_authentication_failures_total \d+/)
    }))

  it.live("cannot choose the address for which they count", () =>
    Effect.gen(function*() {
      const { call, url } = yield* setUp
      for (let guess = 0; guess < failuresBurst; guess++) yield* call(`guess-${guess}`)
      const elsewhere = [["x-columba-peer", "10.1.2.3"], ["x-forwarded-for", "10.1.2.3"]] as const
      const named = yield* ask(`${url}/api/v1/server/ping`, {
        headers: [...elsewhere, ["x-api-key", "guess"]].map(([name, value]) => [name!, value!] as [string, string])
      })
      assert.strictEqual(named.status, 429)
      // Attempts within an RPC share one count, whatever address they name.
      const told: Array<string> = []
      for (let guess = 0; guess <= failuresBurst; guess++) {
        told.push(yield* callRpc(url, [["x-columba-peer", `mark 10.1.2.${guess}`], ["x-api-key", "guess"]]))
      }
      assert.include(told[0], "Unauthorized")
      assert.include(told.at(-1), "TooManyRequests")
    }))

  it.effect("are checked again from an address after a time, a few at a time", () =>
    Effect.gen(function*() {
      const { refuse } = yield* CallLimits
      const tags = Effect.fnUntraced(function*(count: number, address = "10.0.0.1") {
        const told: Array<string> = []
        for (let guess = 0; guess < count; guess++) told.push((yield* Effect.flip(refuse(address)))._tag)
        return told
      })
      assert.deepStrictEqual(new Set(yield* tags(failuresBurst)), new Set(["Unauthorized"]))
      assert.deepStrictEqual(yield* tags(1), ["TooManyRequests"])
      assert.deepStrictEqual(yield* tags(1, "10.0.0.2"), ["Unauthorized"])
      yield* TestClock.adjust("7 seconds")
      assert.deepStrictEqual(yield* tags(2), ["Unauthorized", "TooManyRequests"])
    }).pipe(Effect.provide(CallLimits.layer)))

  it("count for an IPv4 address, or for the network of an IPv6 address", () => {
    for (
      const [address, network] of [
        ["192.0.2.7", "192.0.2.7"],
        ["::ffff:192.0.2.7", "192.0.2.7"],
        ["2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"],
        ["2001:DB8:1:2::9", "2001:db8:1:2::/64"],
        ["2001:db8::9", "2001:db8:0:0::/64"],
        ["::1", "0:0:0:0::/64"],
        ["fe80::1%eth0", "fe80:0:0:0::/64"],
        ["unknown", "unknown"]
      ] as const
    ) {
      assert.strictEqual(networkOf(address), network)
    }
  })
})

describe("a key", () => {
  it.live("that has used up its rate gets 429 with the time of the next attempt, and other keys are not affected", () =>
    Effect.gen(function*() {
      const { call, url } = yield* setUp
      const { body: slow } = yield* call("right-key", "/keys", {
        method: "POST",
        json: { name: "slow", scopes: ["read"], requestsPerSecond: 1 }
      })
      const asked = yield* Effect.forEach(Array.from({ length: 6 }), () => call(slow.key))
      const refused = asked.filter(({ status }) => status === 429)
      assert.isAtLeast(refused.length, 2)
      assert.deepStrictEqual(asked.slice(0, 2).map(({ status }) => status), [200, 200])
      const { body, headers } = refused[0]!
      assert.strictEqual(body._tag, "TooManyRequests")
      assert.include(body.message, "'slow'")
      assert.strictEqual(headers.get("retry-after"), "1")
      assert.include(yield* callRpc(url, [["x-api-key", slow.key]]), "TooManyRequests")
      assert.strictEqual((yield* call("right-key")).status, 200)
    }))

  it.effect("without a rate of its own has the rate of the server, over all forms of requests", () =>
    Effect.gen(function*() {
      const { take } = yield* CallLimits
      const key = {
        id: "key",
        name: "key",
        scopes: new Set(["read"] as const),
        devices: undefined,
        requestsPerSecond: null,
        ended: Effect.never
      }
      const count = Effect.fnUntraced(function*() {
        let taken = 0
        while (Exit.isSuccess(yield* Effect.exit(take(key)))) taken++
        return taken
      })
      assert.strictEqual(yield* count(), 2 * requestsPerSecondDefault)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* count(), requestsPerSecondDefault)
      assert.strictEqual(yield* take({ ...key, id: "another" }), undefined)
    }).pipe(Effect.provide(CallLimits.layer)))

  it.live("has a bounded number of WebSockets, and their places are freed", () =>
    Effect.gen(function*() {
      const { url } = yield* setUp
      const opened = yield* Effect.forEach(
        Array.from({ length: socketsPerKeyMax }),
        () => openSocket(url, "right-key"),
        { concurrency: 50 }
      )
      yield* Effect.addFinalizer(() => Effect.sync(() => opened.forEach((socket) => socket?.close())))
      assert.notInclude(opened, null)
      assert.isNull(yield* openSocket(url, "right-key"))
      const others = yield* openSocket(url, "other-key")
      assert.isNotNull(others)
      others?.close()
      yield* Layer.build(Layer.fresh(ColumbaClient.layerHttp({ url, apiKey: "right-key" })))
    }))

  it.live("has a bounded number of open streams, over HTTP and RPC together, and leaves room for others", () =>
    Effect.gen(function*() {
      const { call, url } = yield* setUp
      const abort = new AbortController()
      yield* Effect.addFinalizer(() => Effect.sync(() => abort.abort()))
      const open = (key: string) =>
        Effect.promise(() =>
          fetch(`${url}/api/v1/events`, {
            signal: abort.signal,
            headers: { accept: "text/event-stream", "x-api-key": key }
          })
        )
      const { body: mine } = yield* call("right-key", "/keys", {
        method: "POST",
        json: { name: "streams", scopes: ["read"], requestsPerSecond: 1000 }
      })
      const streams = yield* Effect.forEach(
        Array.from({ length: streamsPerKeyMax }),
        () => open(mine.key),
        { concurrency: 20 }
      )
      assert.deepStrictEqual(new Set(streams.map(({ status }) => status)), new Set([200]))
      const refused = yield* open(mine.key)
      assert.strictEqual(refused.status, 503)
      assert.include(yield* Effect.promise(() => refused.text()), "'streams'")
      const client = Context.get(yield* Layer.build(ColumbaClient.layerHttp({ url, apiKey: mine.key })), ColumbaClient)
      assert.strictEqual((yield* client.server.caller()).name, "streams")
      assert.strictEqual((yield* open("other-key")).status, 200)
    }))
})
