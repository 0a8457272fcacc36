/** Files fetched from servers that a caller has named, over real sockets and a real name server. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Layer, Stream } from "effect"
import * as Outbound from "../../../src/layers/outbound/Outbound.ts"
import { resolveWith } from "../../../src/layers/outbound/pinnedAgents.ts"
import { OutboundHttp } from "../../../src/services/OutboundHttp.ts"
import * as DnsServer from "../../support/dnsServer.ts"
import { serveFile as serve } from "../../support/fileServer.ts"

const make = (options: Outbound.OutboundOptions) =>
  Effect.map(Layer.build(Outbound.layer(options)), (context) => Context.get(context, OutboundHttp))

/** The bytes of a file, or the reason why there are none. */
const read = (outbound: OutboundHttp["Service"], url: string, bytesMax = 1_000_000) =>
  Effect.scoped(Effect.gen(function*() {
    const file = yield* outbound.fetch({ url, bytesMax })
    const parts = yield* Stream.runCollect(file.content)
    return { status: file.status, type: file.contentType, size: file.size, bytes: Buffer.concat(parts).byteLength }
  })).pipe(
    Effect.catchTags({
      OutboundRefused: ({ reason }) => Effect.succeed(reason),
      OutboundFailed: ({ reason }) => Effect.succeed(reason),
      OutboundTooLarge: () => Effect.succeed("too large" as const)
    })
  )

describe("a file of a server that a caller has named", () => {
  it.live("arrives unchanged, with the server's headers for it", () =>
    Effect.gen(function*() {
      const server = yield* serve((response) => {
        response.setHeader("content-type", "image/png")
        response.setHeader("content-length", 300_000)
        response.end(Buffer.alloc(300_000))
      })
      const outbound = yield* make({ allowPrivate: true })
      assert.deepStrictEqual(yield* read(outbound, server.url), {
        status: 200,
        type: "image/png",
        size: 300_000,
        bytes: 300_000
      })
      assert.deepStrictEqual(
        [server.requests[0]!.method, server.requests[0]!.headers["accept-encoding"]],
        ["GET", "identity"]
      )
    }))

  it.live("is not fetched from a private address, whether given as an address or by a name", () =>
    Effect.gen(function*() {
      const server = yield* serve((response) => response.end("secret"))
      const dns = yield* DnsServer.start((_, count) => [count === 1 ? "1.1.1.1" : "127.0.0.1"])
      const outbound = yield* make({ allowPrivate: false, resolve: resolveWith([dns.address]) })
      assert.strictEqual(yield* read(outbound, `https://127.0.0.1:${server.port}/`), "address")
      assert.strictEqual(yield* read(outbound, `https://[::ffff:7f00:1]:${server.port}/`), "address")
      assert.strictEqual(yield* read(outbound, server.url), "scheme")
      const rebound = `https://rebound.example.com:${server.port}/`
      yield* outbound.check(rebound)
      assert.strictEqual(yield* read(outbound, rebound), "address", "it was public when it was checked")
      assert.strictEqual(server.requests.length, 0)
    }))

  it.live("is not fetched from the target of a redirect", () =>
    Effect.gen(function*() {
      const inner = yield* serve((response) => response.end("secret"))
      const outer = yield* serve((response) => {
        response.writeHead(302, { location: inner.url })
        response.end()
      })
      const outbound = yield* make({ allowPrivate: true })
      assert.deepInclude(yield* read(outbound, outer.url), { status: 302, bytes: 0 })
      assert.strictEqual(inner.requests.length, 0)
    }))

  it.live("above the limit is aborted, with or without a length", () =>
    Effect.gen(function*() {
      const honest = yield* serve((response) => {
        response.setHeader("content-length", 2_000_000)
        response.write(Buffer.alloc(1000))
      })
      const endless = yield* serve((response) => {
        const more = () => {
          while (!response.destroyed && response.write(Buffer.alloc(65_536)));
        }
        response.on("drain", more)
        more()
      })
      const outbound = yield* make({ allowPrivate: true })
      assert.strictEqual(yield* read(outbound, honest.url), "too large")
      assert.strictEqual(yield* read(outbound, endless.url), "too large")
    }))

  it.live("that does not start, stalls, is too slow or breaks off fails in time", () =>
    Effect.gen(function*() {
      const times = { allowPrivate: true, requestMillis: 300, silenceMillis: 300, fileMillis: 900 }
      const outbound = yield* make(times)
      const silent = yield* serve(() => {})
      assert.strictEqual(yield* read(outbound, silent.url), "timeout")
      const still = yield* serve((response) => response.write("beginning"))
      assert.strictEqual(yield* read(outbound, still.url), "timeout")
      const trickle = yield* serve((response) => {
        const timer = setInterval(() => response.write("x"), 50)
        response.on("close", () => clearInterval(timer))
      })
      assert.strictEqual(yield* read(outbound, trickle.url), "timeout")
      const broken = yield* serve((response) => {
        response.setHeader("content-length", 100)
        response.write("x", () => response.destroy())
      })
      assert.strictEqual(yield* read(outbound, broken.url), "connection")
    }))

  it.live("that nobody reads keeps its connection no longer than its scope", () =>
    Effect.gen(function*() {
      const closed = yield* Deferred.make<void>()
      const server = yield* serve((response) => {
        response.on("close", () => Effect.runFork(Deferred.succeed(closed, undefined)))
        response.write(Buffer.alloc(1000))
      })
      const outbound = yield* make({ allowPrivate: true })
      yield* Effect.scoped(outbound.fetch({ url: server.url, bytesMax: 10 }))
      yield* Deferred.await(closed)
    }))
})
