import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { createServer, type Server } from "node:https"
import * as net from "node:net"
import type { AddressInfo } from "node:net"
import * as tls from "node:tls"
import { WebSocketServer } from "ws"
import type { Refusal } from "../../../../src/layers/gateways/socketFailures.ts"
import type { ClientSocket } from "../../../../src/layers/gateways/websocket/ClientSocket.ts"
import { makeOrigin, openWebSocket } from "../../../../src/layers/gateways/websocket/handshake.ts"
import { localhost } from "../../../support/certificate.ts"
import { acceptFor, Heard, switching } from "../../../support/webSockets.ts"

const listen = (server: net.Server | Server): Effect.Effect<number, never, Scope.Scope> =>
  Effect.acquireRelease(
    Effect.callback<number>((resume) => {
      server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
    }),
    () => Effect.sync(() => server.close())
  )

interface Options {
  readonly origin?: ReturnType<typeof makeOrigin>
  readonly millis?: number
  readonly headers?: Readonly<Record<string, string>>
}

const open = (url: string, { headers = {}, millis = 5000, origin = makeOrigin(url) }: Options = {}) =>
  Effect.acquireRelease(
    Effect.callback<ClientSocket, Refusal>((resume) => {
      const cancel = openWebSocket(
        { origin, millis, frameBytesHardMax: 1000 },
        { url, headers },
        (socket) => {
          Heard.listenTo(socket)
          resume(Effect.succeed(socket))
        },
        (refusal) => resume(Effect.fail(refusal))
      )
      return Effect.sync(cancel)
    }),
    (socket) => Effect.sync(() => socket.terminate())
  )

const refused = (url: string, options?: Options) =>
  Effect.map(Effect.flip(open(url, options)), ({ failure }) => `${failure.class} ${failure.code}`)

const pongOf = (socket: ClientSocket) =>
  Effect.suspend(() => {
    const heard = new Heard(socket)
    heard.ping()
    return heard.until("pong")
  })

/** A server that answers the first request with this text, made with its key, and then leaves the connection open. */
const answering = (write: (socket: net.Socket, key: string, request: string) => void) =>
  Effect.map(
    listen(net.createServer((socket) => {
      socket.on("error", () => {})
      socket.once("data", (data) => {
        const request = data.toString()
        write(socket, /Sec-WebSocket-Key: (\S+)/.exec(request)?.[1] ?? "", request)
      })
    })),
    (port) => `ws://127.0.0.1:${port}/ws`
  )

describe("the opening of a WebSocket", () => {
  it.live("sends the required headers, and masks its frames", () =>
    Effect.gen(function*() {
      const requests: Array<string> = []
      const frames: Array<Buffer> = []
      const url = yield* answering((socket, key, request) => {
        requests.push(request)
        socket.on("data", (frame: Buffer) => {
          frames.push(frame)
          socket.write(Buffer.from([0x8a, 0]))
        })
        socket.write(switching(acceptFor(key)))
      })
      const socket = yield* open(`${url}?device_id=a%20b`, { headers: { "X-Device-Id": "a b" } })
      assert.strictEqual(yield* pongOf(socket), "pong")
      const [first, ...lines] = requests[0]!.trimEnd().split("\r\n")
      assert.strictEqual(first, "GET /ws?device_id=a%20b HTTP/1.1")
      assert.includeMembers(lines, [
        `Host: ${new URL(url).host}`,
        "X-Device-Id: a b",
        "Sec-WebSocket-Version: 13",
        "Connection: Upgrade",
        "Upgrade: websocket"
      ])
      assert.strictEqual(Buffer.from(/Key: (\S+)/.exec(requests[0]!)![1]!, "base64").length, 16)
      assert.deepStrictEqual([frames[0]!.length, frames[0]![0], frames[0]![1]], [6, 0x89, 0x80])
    }))

  it.live("never sends the same key twice", () =>
    Effect.gen(function*() {
      const keys = new Set<string>()
      const url = yield* answering((socket, key) => {
        keys.add(key)
        socket.end("HTTP/1.1 503 Away\r\ncontent-length: 0\r\n\r\n")
      })
      yield* Effect.forEach(Array.from({ length: 600 }), () => refused(url), { concurrency: 16 })
      assert.strictEqual(keys.size, 600)
    }))

  it.live("loses no frame that arrives together with the answer, or after an interim answer and byte by byte", () =>
    Effect.gen(function*() {
      const hello = "\x81\x02hi"
      for (const slowly of [false, true]) {
        const url = yield* answering((socket, key) => {
          const bytes = Buffer.from(`HTTP/1.1 103 Early Hints\r\n\r\n${switching(acceptFor(key))}${hello}`, "latin1")
          if (!slowly) return void socket.write(bytes)
          let at = 0
          const next = () => {
            if (at < bytes.length) socket.write(bytes.subarray(at, ++at), next)
          }
          next()
        })
        const received = yield* Effect.callback<string>((resume) => {
          openWebSocket(
            { origin: makeOrigin(url), millis: 5000, frameBytesHardMax: 1000 },
            { url, headers: {} },
            (socket) => {
              new Heard(socket).onWord = (word) => {
                if (word.startsWith("close")) return
                socket.terminate()
                resume(Effect.succeed(word))
              }
            },
            () => resume(Effect.succeed("refused"))
          )
        })
        assert.strictEqual(received, "text hi")
      }
    }))

  it.live.each(
    [
      ["a wrong proof", (_key: string) => switching(acceptFor("other")), "transport not-a-websocket"],
      ["no proof", () => switching("").replace(/Sec.*\r\n/, ""), "transport not-a-websocket"],
      [
        "an extension that was not asked for",
        (key: string) => switching(acceptFor(key), "Sec-WebSocket-Extensions: permessage-deflate\r\n"),
        "transport not-a-websocket"
      ],
      [
        "a protocol that was not asked for",
        (key: string) => switching(acceptFor(key), "Sec-WebSocket-Protocol: chat\r\n"),
        "transport not-a-websocket"
      ],
      [
        "another protocol",
        (key: string) => switching(acceptFor(key)).replace("WebSocket", "h2c"),
        "transport not-a-websocket"
      ],
      ["another language", () => "SSH-2.0-OpenSSH_9.2\r\n", "transport not-a-websocket"],
      ["a refusal in chunks", () => {
        const body = JSON.stringify({ code: "DEVICE_NOT_FOUND", message: "device not found" })
        return `HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n${
          body.length.toString(16)
        }\r\n${body}\r\n0\r\n\r\n`
      }, "transport unknown-slot"]
    ] as const
  )("ends at once with %s", ([, text, expected]) =>
    Effect.gen(function*() {
      const url = yield* answering((socket, key) => socket.write(text(key)))
      assert.strictEqual(yield* refused(url), expected)
    }))

  it.live("treats a connection that ends before its answer as an unreachable gateway; a truncated refusal counts by its status", () =>
    Effect.gen(function*() {
      const away = yield* answering((socket) => socket.end("HTTP/1.1 20"))
      assert.strictEqual(yield* refused(away), "upstreamDown unreachable")
      const broken = yield* answering((socket) => socket.end("HTTP/1.1 401 No\r\ncontent-length: 99\r\n\r\n{"))
      assert.strictEqual(yield* refused(broken), "auth unauthorized")
    }))

  it.live("closes its connection when it is aborted, before and after the upgrade", () =>
    Effect.gen(function*() {
      for (const upgrades of [false, true]) {
        yield* Effect.callback<void>((resume) => {
          const server = net.createServer((socket) => {
            socket.on("error", () => {}).on("close", () => server.close(() => resume(Effect.void)))
            socket.once("data", (data) => {
              const key = /Sec-WebSocket-Key: (\S+)/.exec(data.toString())![1]!
              if (upgrades) socket.write(switching(acceptFor(key)))
              else cancel()
            })
          })
          let cancel = () => {}
          server.listen(0, "127.0.0.1", () => {
            const url = `ws://127.0.0.1:${(server.address() as AddressInfo).port}`
            const never = () => assert.fail("neither callback is called after a cancel")
            cancel = openWebSocket(
              { origin: makeOrigin(url), millis: 5000, frameBytesHardMax: 1000 },
              { url, headers: {} },
              never,
              never,
              (socket) => {
                Heard.listenTo(socket)
                queueMicrotask(() => cancel())
              }
            )
          })
        })
      }
    }))

  it.live("checks the certificate, and resumes the TLS session of the previous connection", () =>
    Effect.gen(function*() {
      const server = createServer(localhost)
      const reused: Array<boolean> = []
      server.on("secureConnection", (socket: tls.TLSSocket) => reused.push(socket.isSessionReused()))
      const sockets = new WebSocketServer({ server })
      sockets.on("connection", (socket) => socket.on("ping", () => socket.send("hello")))
      const port = yield* listen(server)
      const url = `wss://localhost:${port}/ws`
      assert.strictEqual(yield* refused(url), "upstreamDown tls")
      reused.length = 0
      const trusted = tls.getCACertificates("default")
      yield* Effect.acquireRelease(
        Effect.sync(() => tls.setDefaultCACertificates([...trusted, localhost.cert])),
        () => Effect.sync(() => tls.setDefaultCACertificates(trusted))
      )
      const origin = makeOrigin(url)
      for (let turn = 0; turn < 2; turn++) {
        const heard = new Heard(yield* open(url, { origin }))
        heard.ping()
        assert.strictEqual(yield* heard.until("text"), "text hello")
      }
      assert.deepStrictEqual(reused, [false, true])
    }))
})
