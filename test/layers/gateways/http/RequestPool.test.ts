import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, type Scope } from "effect"
import * as net from "node:net"
import { Origin } from "../../../../src/layers/gateways/http/Origin.ts"
import { type PooledRequest, RequestPool } from "../../../../src/layers/gateways/http/RequestPool.ts"
import { listen } from "../../../support/listening.ts"

interface Server {
  readonly pool: (options?: { readonly connectionsMax?: number; readonly idleMillisMax?: number }) => RequestPool
  /** Connections so far, and those that are open. */
  readonly made: Array<net.Socket>
  readonly open: Set<net.Socket>
  /** Waits until this many requests have come in total. */
  readonly asked: (count: number) => Effect.Effect<void>
}

/** A server that reports each request with its connection; requests come one at a time on a connection. */
const serve = (onRequest: (socket: net.Socket, text: string) => void): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const made: Array<net.Socket> = []
    const open = new Set<net.Socket>()
    const waiting = new Set<{ readonly count: number; readonly done: Deferred.Deferred<void> }>()
    let requests = 0
    const server = net.createServer((socket) => {
      made.push(socket)
      open.add(socket)
      socket.on("error", () => {}).on("close", () => open.delete(socket))
      socket.on("data", (data: Buffer) => {
        requests++
        for (const { count, done } of waiting) if (requests >= count) Deferred.doneUnsafe(done, Effect.void)
        onRequest(socket, data.toString("latin1"))
      })
    })
    const port = yield* listen(server)
    const pools: Array<RequestPool> = []
    yield* Effect.addFinalizer(() => Effect.sync(() => pools.forEach((pool) => pool.close())))
    return {
      made,
      open,
      pool: ({ connectionsMax = 4, idleMillisMax = 4000 } = {}) => {
        const pool = new RequestPool(new Origin(new URL(`http://127.0.0.1:${port}`)), { connectionsMax, idleMillisMax })
        pools.push(pool)
        return pool
      },
      asked: (count) =>
        Effect.suspend(() => {
          const done = Deferred.makeUnsafe<void>()
          waiting.add({ count, done })
          return requests >= count ? Effect.void : Deferred.await(done)
        })
    }
  })

/** The answer as `status text`, or the failure. */
const ask = (pool: RequestPool, path: string, change: Partial<PooledRequest> = {}): Effect.Effect<string, string> =>
  Effect.callback((resume) => {
    const request: PooledRequest = {
      head: `GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`,
      body: "",
      repeatable: true,
      bodyBytesMax: 100,
      onReply: (status, text) => resume(Effect.succeed(`${status} ${text}`)),
      onFailure: (detail) => resume(Effect.fail(detail)),
      ...change
    }
    pool.submit(request)
    return Effect.sync(() => pool.withdraw(request))
  })

const answer = (socket: net.Socket, text: string, head = "HTTP/1.1 200 OK"): void => {
  socket.write(`${head}\r\ncontent-length: ${text.length}\r\n\r\n${text}`, "latin1")
}

describe("requests to one gateway", () => {
  it.live("share connections, up to the maximum", () =>
    Effect.gen(function*() {
      const server = yield* serve((socket, text) => answer(socket, text.split(" ")[1]!))
      const pool = server.pool({ connectionsMax: 2 })
      const paths = Array.from({ length: 20 }, (_, index) => `/${index}`)
      const answers = yield* Effect.forEach(paths, (path) => ask(pool, path), { concurrency: "unbounded" })
      assert.deepStrictEqual(answers, paths.map((path) => `200 ${path}`))
      assert.strictEqual(server.made.length, 2)
      assert.strictEqual(yield* ask(pool, "/later"), "200 /later")
      assert.strictEqual(server.made.length, 2)
    }))

  it.live("send their headers one byte per character and their body in UTF-8", () =>
    Effect.gen(function*() {
      const server = yield* serve((socket, text) => answer(socket, text.slice(text.indexOf("x-key"))))
      const head = "POST / HTTP/1.1\r\nhost: x\r\nx-key: \u00fc\r\n\r\n"
      const answered = yield* ask(server.pool(), "/", { head, body: "\u00fc" })
      // The answer repeats the bytes and is read as UTF-8, in which the header's byte is invalid.
      assert.strictEqual(answered, "200 x-key: \ufffd\r\n\r\n\u00fc")
    }))

  it.live("do not reuse a connection that the server closes, or that it could soon close", () =>
    Effect.gen(function*() {
      for (const header of ["connection: close", "keep-alive: timeout=1"]) {
        const server = yield* serve((socket) => answer(socket, "a", `HTTP/1.1 200 OK\r\n${header}`))
        const pool = server.pool()
        yield* ask(pool, "/1")
        yield* ask(pool, "/2")
        assert.strictEqual(server.made.length, 2)
      }
    }))

  it.live("on a kept connection that is closed at that moment are sent once more, unless they change something", () =>
    Effect.gen(function*() {
      let answered = 0
      const server = yield* serve((socket) => answered++ === 0 ? answer(socket, "a") : socket.destroy())
      const pool = server.pool()
      yield* ask(pool, "/1")
      // On the kept connection, and then on a new one, which is closed as well: not a third time.
      assert.strictEqual(yield* Effect.flip(ask(pool, "/2")), "ECONNRESET")
      assert.strictEqual(server.made.length, 2)
      answered = 0
      yield* ask(pool, "/3")
      assert.strictEqual(yield* Effect.flip(ask(pool, "/4", { repeatable: false })), "ECONNRESET")
      assert.strictEqual(server.made.length, 3)
    }))

  it.live("that are withdrawn free their place for the next one, and never get an answer", () =>
    Effect.gen(function*() {
      const server = yield* serve((socket, text) => {
        if (text.includes("/last")) answer(socket, "b")
      })
      const pool = server.pool({ connectionsMax: 1 })
      const stuck = yield* Effect.forkChild(ask(pool, "/stuck"))
      yield* server.asked(1)
      const last = yield* Effect.forkChild(ask(pool, "/last"))
      stuck.interruptUnsafe()
      assert.strictEqual(yield* Fiber.join(last), "200 b")
      assert.strictEqual(server.made.length, 2)
    }))

  it.live("close a connection on which an unrequested answer arrives", () =>
    Effect.gen(function*() {
      const server = yield* serve((socket) => answer(socket, "a"))
      const pool = server.pool()
      yield* ask(pool, "/1")
      const [kept] = server.made
      const closed = Effect.callback<void>((resume) => {
        kept!.on("close", () => resume(Effect.void))
        answer(kept!, "forged")
      })
      yield* closed
      assert.strictEqual(yield* ask(pool, "/2"), "200 a")
    }))

  it.live("fail at once when the gateway is released, and nothing stays open", () =>
    Effect.gen(function*() {
      const server = yield* serve(() => {})
      const pool = server.pool({ connectionsMax: 1 })
      const both = yield* Effect.forkChild(
        Effect.forEach(["/1", "/2"], (path) => Effect.flip(ask(pool, path)), { concurrency: "unbounded" })
      )
      yield* server.asked(1)
      pool.close()
      assert.lengthOf(yield* Fiber.join(both), 2)
      assert.match(yield* Effect.flip(ask(pool, "/3")), /not used any more/)
    }))

  it.live("distinguish a broken answer, an answer that is no HTTP, and no server", () =>
    Effect.gen(function*() {
      const broken = yield* serve((socket) => socket.end("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx"))
      assert.strictEqual(yield* Effect.flip(ask(broken.pool(), "/")), "its answer broke off")
      const stranger = yield* serve((socket) => void socket.write("220 mail.example ESMTP\r\n"))
      assert.strictEqual(yield* Effect.flip(ask(stranger.pool(), "/")), "what answered does not speak HTTP")
      const nobody = new RequestPool(new Origin(new URL("http://127.0.0.1:1")), { connectionsMax: 1, idleMillisMax: 0 })
      assert.strictEqual(yield* Effect.flip(ask(nobody, "/")), "ECONNREFUSED")
    }))
})
