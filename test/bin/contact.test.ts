/** Every way in which a Columba can fail to answer, distinguished for the user. */
import { createServer } from "node:http"
import type { RequestListener } from "node:http"
import { createServer as createSocketServer } from "node:net"
import type { AddressInfo, Server } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { contactFailed } from "../../src/bin/contact.ts"

const listen = <S extends Server>(server: S) =>
  Effect.acquireRelease(
    Effect.callback<S>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.succeed(server)))),
    (server) => Effect.sync(() => server.close())
  )

const portOf = (server: Server): number => (server.address() as AddressInfo).port

const answering = (listener: RequestListener) => Effect.map(listen(createServer(listener)), portOf)

const explain = (url: string, timeoutMillis?: number) =>
  Effect.map(contactFailed(url, "fetch failed", timeoutMillis), ({ hint, message }) => ({ hint: hint ?? "", message }))

describe("a Columba that cannot be reached", () => {
  it.live("is not running: nothing listens there", () =>
    Effect.gen(function*() {
      const port = yield* Effect.scoped(Effect.map(listen(createSocketServer()), portOf))
      const { hint, message } = yield* explain(`http://127.0.0.1:${port}`)
      assert.include(message, `no Columba answers at http://127.0.0.1:${port}: nothing listens there`)
      assert.include(hint, "npm start")
    }))

  it.live("has a host name that is unknown", () =>
    Effect.gen(function*() {
      assert.include((yield* explain("http://columba.invalid")).message, "the host name is unknown")
    }))

  it.live("accepts the connection and does not answer", () =>
    Effect.gen(function*() {
      const server = yield* listen(createSocketServer())
      server.on("connection", (socket) => void server.once("close", () => socket.destroy()))
      const { hint, message } = yield* explain(`http://127.0.0.1:${portOf(server)}`, 200)
      assert.include(message, "does not answer")
      assert.include(hint, "firewall")
    }))

  it.live("has no TLS if https:// is used", () =>
    Effect.gen(function*() {
      const port = yield* answering((_, response) => response.end())
      const { hint, message } = yield* explain(`https://127.0.0.1:${port}`)
      assert.include(message, "no trusted TLS connection")
      assert.include(hint, "http://")
    }))

  it.live("is behind a server that asks for credentials", () =>
    Effect.gen(function*() {
      const port = yield* answering((_, response) => response.writeHead(401, { server: "proxy" }).end("no"))
      assert.include((yield* explain(`http://127.0.0.1:${port}`)).message, "asks for its own credentials (HTTP 401)")
    }))

  it.live("is another server, which is named", () =>
    Effect.gen(function*() {
      const port = yield* answering((_, response) => response.writeHead(404, { server: "nginx" }).end("<html>"))
      assert.include(
        (yield* explain(`http://127.0.0.1:${port}`)).message,
        "is not Columba: it answers /healthz with HTTP 404 (server: nginx)"
      )
      const pages = yield* answering((_, response) => response.end("<html>hello</html>"))
      assert.include((yield* explain(`http://127.0.0.1:${pages}`)).message, "is not Columba")
    }))

  it.live("speaks no HTTP at all", () =>
    Effect.gen(function*() {
      const server = yield* listen(createSocketServer((socket) => socket.end("220 mail ready\r\n")))
      assert.include(
        (yield* explain(`http://127.0.0.1:${portOf(server)}`)).message,
        "no Columba answers at"
      )
    }))

  it.live("is a Columba that is up and did not answer the call", () =>
    Effect.gen(function*() {
      const port = yield* answering((_, response) => response.end(JSON.stringify({ status: "ok" })))
      assert.include(
        (yield* explain(`http://127.0.0.1:${port}`)).message,
        "is running but did not answer this call: fetch failed"
      )
    }))
})
