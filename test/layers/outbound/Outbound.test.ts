/** Requests on behalf of callers, over real sockets and a real name server. */
import { createServer as createSecureServer } from "node:https"
import { createServer } from "node:net"
import type { Socket } from "node:net"
import { networkInterfaces } from "node:os"
import * as tls from "node:tls"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import * as Outbound from "../../../src/layers/outbound/Outbound.ts"
import { resolveWith } from "../../../src/layers/outbound/pinnedAgents.ts"
import { OutboundHttp } from "../../../src/services/OutboundHttp.ts"
import { cert, key } from "../../support/certificate.ts"
import * as DnsServer from "../../support/dnsServer.ts"
import { listen } from "../../support/listening.ts"
import * as Receiver from "../../support/subscriber.ts"

const make = (options: Outbound.OutboundOptions) =>
  Effect.map(Layer.build(Outbound.layer(options)), (context) => Context.get(context, OutboundHttp))

const body = Buffer.from(`{"seq":"1","id":"x","kind":"message.received","deviceId":"dev"}`)

/** A TCP server that handles each connection as the test says, and counts them. */
const countConnections = (
  use: (socket: Socket) => void = () => {}
): Effect.Effect<{ readonly port: number; readonly connections: () => number }, never, Scope.Scope> =>
  Effect.gen(function*() {
    let connections = 0
    const port = yield* listen(createServer((socket) => {
      connections++
      socket.on("error", () => {})
      use(socket)
    }))
    return { port, connections: () => connections }
  })

const post = (outbound: OutboundHttp["Service"], url: string) => outbound.post({ url, headers: {}, body })

const failure = <A>(effect: Effect.Effect<A, { readonly reason: string }>) =>
  Effect.map(Effect.flip(effect), ({ reason }) => reason)

describe("a name that leads to a private address", () => {
  const forbidden = ["127.0.0.1", "10.1.2.3", "169.254.169.254", "100.64.0.1", "0.0.0.0"]

  it.live("is refused when it is given and when it is called, and no connection is made", () =>
    Effect.gen(function*() {
      const target = yield* countConnections()
      for (const address of forbidden) {
        const dns = yield* DnsServer.start(() => [address])
        const outbound = yield* make({ allowPrivate: false, resolve: resolveWith([dns.address]) })
        const url = `https://hooks.example.com:${target.port}/`
        assert.strictEqual(yield* failure(outbound.check(url)), "address", address)
        assert.strictEqual(yield* failure(post(outbound, url)), "address", address)
      }
      assert.strictEqual(target.connections(), 0)
    }))

  it.live("is refused when it was public at registration and is bound to another address later", () =>
    Effect.gen(function*() {
      const target = yield* countConnections()
      const dns = yield* DnsServer.start((_, count) => [count === 1 ? "1.1.1.1" : "127.0.0.1"])
      const outbound = yield* make({ allowPrivate: false, resolve: resolveWith([dns.address]) })
      const url = `https://rebound.example.com:${target.port}/`
      yield* outbound.check(url)
      assert.strictEqual(yield* failure(post(outbound, url)), "address")
      assert.deepStrictEqual([dns.asked.length, target.connections()], [2, 0])
    }))

  it.live("is refused if only one of its addresses is private", () =>
    Effect.gen(function*() {
      const target = yield* countConnections()
      const dns = yield* DnsServer.start(() => ["1.1.1.1", "127.0.0.1"])
      const outbound = yield* make({ allowPrivate: false, resolve: resolveWith([dns.address]) })
      assert.strictEqual(yield* failure(post(outbound, `https://both.example.com:${target.port}/`)), "address")
      assert.strictEqual(target.connections(), 0)
    }))

  it.live("is refused for every spelling of an address too, and for the machine's own public one", () =>
    Effect.gen(function*() {
      const outbound = yield* make({ allowPrivate: false, resolve: async (name) => [name] })
      const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []).filter(({ family }) =>
        family === "IPv4"
      )
      for (const { address } of own) {
        assert.strictEqual(yield* failure(post(outbound, `https://${address}/`)), "address")
      }
      for (const address of ["::1", "::ffff:7f00:1", "64:ff9b::7f00:1", "2002:7f00:1::1", "fd00::1"]) {
        assert.strictEqual(yield* failure(outbound.check(`https://[${address}]/`)), "address", address)
        assert.strictEqual(yield* failure(post(outbound, `https://[${address}]/`)), "address", address)
      }
    }))

  it.live("that does not resolve has a separate reason", () =>
    Effect.gen(function*() {
      const dns = yield* DnsServer.start(() => [])
      const outbound = yield* make({ allowPrivate: false, resolve: resolveWith([dns.address]) })
      assert.strictEqual(yield* failure(outbound.check("https://nowhere.example.com/")), "unresolved")
    }))
})

describe("a request", () => {
  it.live("resolves once, and uses the address that was checked", () =>
    Effect.gen(function*() {
      const receiver = yield* Receiver.start()
      const asked: Array<string> = []
      const outbound = yield* make({
        allowPrivate: true,
        // Nothing listens at the second address.
        resolve: async (name) => [asked.push(name) === 1 ? "127.0.0.1" : "127.0.0.9"]
      })
      const url = `http://pinned.example.com:${receiver.port}/hook`
      assert.strictEqual((yield* post(outbound, url)).status, 204)
      // The connection is kept, so nothing is resolved for the next request.
      assert.strictEqual((yield* post(outbound, url)).status, 204)
      assert.deepStrictEqual([asked.length, receiver.connections()], [1, 1])
      assert.strictEqual(receiver.received[0]!.headers.host, `pinned.example.com:${receiver.port}`)
    }))

  it.live("does not follow a redirect", () =>
    Effect.gen(function*() {
      const inside = yield* Receiver.start()
      const receiver = yield* Receiver.start(Receiver.status(302, { location: inside.url }))
      const outbound = yield* make({ allowPrivate: true })
      assert.strictEqual((yield* post(outbound, receiver.url)).status, 302)
      assert.strictEqual(inside.connections(), 0)
    }))

  it.live("without an answer ends in time: silence, one byte per second, an endless head, a closed connection", () =>
    Effect.gen(function*() {
      const outbound = yield* make({ allowPrivate: true, requestMillis: 700 })
      const silent = yield* countConnections()
      const slow = yield* countConnections((socket) => {
        let at = 0
        const text = "HTTP/1.1 200 OK\r\n\r\n"
        const timer = setInterval(() => socket.write(text[at++ % text.length]!), 100)
        socket.on("close", () => clearInterval(timer))
      })
      const endless = yield* countConnections((socket) => {
        socket.write("HTTP/1.1 200 OK\r\n")
        const timer = setInterval(() => socket.write(`x-${"a".repeat(1000)}: b\r\n`), 1)
        socket.on("close", () => clearInterval(timer))
      })
      const closing = yield* countConnections((socket) => socket.on("data", () => socket.destroy()))
      const reasons = yield* Effect.forEach(
        [silent, slow, endless, closing],
        ({ port }) => failure(post(outbound, `http://127.0.0.1:${port}/`)),
        { concurrency: "unbounded" }
      )
      assert.deepStrictEqual(reasons, ["timeout", "timeout", "connection", "connection"])
    }))

  it.live("takes the status of an answer whose body is 2 GB or very slow, and reads no more of it", () =>
    Effect.gen(function*() {
      const outbound = yield* make({ allowPrivate: true })
      let sent = 0
      const huge = yield* countConnections((socket) => {
        const chunk = Buffer.alloc(64 * 1024, 120)
        socket.write(`HTTP/1.1 200 OK\r\ncontent-length: ${2 * 1024 ** 3}\r\n\r\n`)
        const fill = () => {
          while (!socket.destroyed && sent < 2 * 1024 ** 3 && socket.write(chunk)) sent += chunk.length
          sent += chunk.length
        }
        socket.on("data", fill).on("drain", fill)
      })
      assert.strictEqual((yield* post(outbound, `http://127.0.0.1:${huge.port}/`)).status, 200)
      assert.isBelow(sent, 64 * 1024 * 1024)
      const dripping = yield* countConnections((socket) => {
        socket.write("HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 1000\r\n\r\n")
        const timer = setInterval(() => socket.write("x"), 50)
        socket.on("close", () => clearInterval(timer))
      })
      const reply = yield* post(outbound, `http://127.0.0.1:${dripping.port}/`)
      assert.deepStrictEqual(reply, { status: 503, retryAfterSeconds: 7 })
    }))

  it.live("by TLS uses the checked address and verifies the name, which the server receives", () =>
    Effect.gen(function*() {
      const names: Array<string> = []
      const server = createSecureServer({ cert, key, SNICallback: (name, done) => (names.push(name), done(null)) }, (
        _,
        response
      ) => response.writeHead(204).end())
      const port = yield* listen(server)
      const trusted = tls.getCACertificates("default")
      yield* Effect.acquireRelease(
        Effect.sync(() => tls.setDefaultCACertificates([...trusted, cert])),
        () => Effect.sync(() => tls.setDefaultCACertificates(trusted))
      )
      const outbound = yield* make({ allowPrivate: true, resolve: async () => ["127.0.0.1"] })
      assert.strictEqual((yield* post(outbound, `https://hooks.example.com:${port}/`)).status, 204)
      assert.deepStrictEqual(names, ["hooks.example.com"])
      const wrong = yield* Effect.flip(post(outbound, `https://other.example.com:${port}/`))
      assert.include(wrong.message, "ERR_TLS_CERT_ALTNAME_INVALID")
      tls.setDefaultCACertificates(trusted)
      const stranger = yield* make({ allowPrivate: true, resolve: async () => ["127.0.0.1"] })
      const unknown = yield* Effect.flip(post(stranger, `https://hooks.example.com:${port}/`))
      assert.include(unknown.message, "SELF_SIGNED")
    }))

  it.live("accepts an answer that comes before its body is sent", () =>
    Effect.gen(function*() {
      const outbound = yield* make({ allowPrivate: true })
      const early = yield* countConnections((socket) =>
        socket.once("data", () => {
          socket.end("HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
          socket.pause()
        })
      )
      const large = { url: `http://127.0.0.1:${early.port}/`, headers: {}, body: Buffer.alloc(8 * 1024 * 1024) }
      assert.strictEqual((yield* outbound.post(large)).status, 413)
    }))

  it.live("is sent again on a new connection if the kept one was closed meanwhile", () =>
    Effect.gen(function*() {
      const outbound = yield* make({ allowPrivate: true })
      const answered: Array<Socket> = []
      const server = yield* countConnections((socket) =>
        socket.on("data", () => {
          if (answered.includes(socket)) socket.destroy()
          else {
            answered.push(socket)
            socket.write("HTTP/1.1 204 No Content\r\n\r\n")
          }
        })
      )
      const url = `http://127.0.0.1:${server.port}/`
      for (let count = 0; count < 3; count++) assert.strictEqual((yield* post(outbound, url)).status, 204)
      assert.isAbove(server.connections(), 1)
    }))
})
