import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { createHash } from "node:crypto"
import { createServer, type Server } from "node:https"
import * as net from "node:net"
import type { AddressInfo } from "node:net"
import * as tls from "node:tls"
import { WebSocketServer } from "ws"
import { makeOrigin, openWebSocket } from "../../../src/layers/gateways/handshake.ts"
import { ClientSocket } from "../../../src/layers/gateways/http/ClientSocket.ts"
import { readTurns } from "../../../src/layers/gateways/http/ReadTurns.ts"
import type { Refusal } from "../../../src/layers/gateways/socketFailures.ts"
import { localhost } from "../../support/certificate.ts"

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
        new ClientSocket(),
        (socket) => resume(Effect.succeed(socket)),
        (refusal) => resume(Effect.fail(refusal))
      )
      return Effect.sync(cancel)
    }),
    (socket) => Effect.sync(() => socket.terminate())
  )

const refused = (url: string, options?: Options) =>
  Effect.map(Effect.flip(open(url, options)), ({ failure }) => `${failure.class} ${failure.code}`)

const messageOf = (socket: ClientSocket, prompt: string) =>
  Effect.callback<string>((resume) => {
    socket.once("message", (data: Buffer) => resume(Effect.succeed(data.toString())))
    socket.send(prompt)
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

const acceptFor = (key: string) =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

const switching = (accept: string, extra = "") =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${extra}\r\n`

describe("the opening of a WebSocket", () => {
  it.live("sends what a server needs to see, and masks what it sends then", () =>
    Effect.gen(function*() {
      const requests: Array<string> = []
      const frames: Array<Buffer> = []
      const url = yield* answering((socket, key, request) => {
        requests.push(request)
        socket.on("data", (frame: Buffer) => {
          frames.push(frame)
          socket.write(Buffer.from([0x81, 2, 0x6f, 0x6b]))
        })
        socket.write(switching(acceptFor(key)))
      })
      const socket = yield* open(`${url}?device_id=a%20b`, { headers: { "X-Device-Id": "a b" } })
      assert.strictEqual(yield* messageOf(socket, "hello"), "ok")
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
      assert.strictEqual(frames[0]![1]! & 0x80, 0x80)
      assert.notInclude(frames[0]!.toString("latin1"), "hello")
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

  it.live("loses no frame that comes in one piece with the answer, or after an interim answer and byte by byte", () =>
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
            new ClientSocket(),
            (socket) => {
              socket.on("message", (data: Buffer) => {
                socket.terminate()
                resume(Effect.succeed(data.toString()))
              })
            },
            () => resume(Effect.succeed("refused"))
          )
        })
        assert.strictEqual(received, "hi")
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

  it.live("a connection that ends before its answer is a gateway that is away; a refusal that breaks off counts by its status", () =>
    Effect.gen(function*() {
      const away = yield* answering((socket) => socket.end("HTTP/1.1 20"))
      assert.strictEqual(yield* refused(away), "upstreamDown unreachable")
      const broken = yield* answering((socket) => socket.end("HTTP/1.1 401 No\r\ncontent-length: 99\r\n\r\n{"))
      assert.strictEqual(yield* refused(broken), "auth unauthorized")
    }))

  it.live("is closed when it is given up, before and after the upgrade", () =>
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
              new ClientSocket(),
              never,
              never,
              () => queueMicrotask(() => cancel())
            )
          })
        })
      }
    }))

  it.live("by TLS checks the certificate, and resumes the session of the connection before", () =>
    Effect.gen(function*() {
      const server = createServer(localhost)
      const reused: Array<boolean> = []
      server.on("secureConnection", (socket: tls.TLSSocket) => reused.push(socket.isSessionReused()))
      const sockets = new WebSocketServer({ server })
      sockets.on("connection", (socket) => socket.on("message", (data) => socket.send(String(data))))
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
        const socket = yield* open(url, { origin })
        assert.strictEqual(yield* messageOf(socket, "hello"), "hello")
      }
      assert.deepStrictEqual(reused, [false, true])
    }))
})

describe("the frames of a WebSocket", () => {
  /** A server that writes these bytes once it is spoken to; what the socket makes of them: texts, then why it ended. */
  const heard = (...pieces: ReadonlyArray<Buffer>) =>
    Effect.gen(function*() {
      const url = yield* answering((socket, key) => {
        socket.once("data", () => socket.write(Buffer.concat(pieces)))
        socket.write(switching(acceptFor(key)))
      })
      const socket = yield* open(url)
      const found: Array<string> = []
      yield* Effect.callback<void>((resume) => {
        socket.on("message", (data: Buffer) => {
          found.push(data.toString())
          if (found.at(-1) === "end") socket.terminate()
        })
        socket.on("error", (error: NodeJS.ErrnoException) => found.push(String(error.code)))
        socket.on("close", () => resume(Effect.void))
        socket.send("go")
      })
      return found
    })

  const frame = (head: number, text: string) => Buffer.concat([Buffer.from([head, text.length]), Buffer.from(text)])
  const [begins, goesOn, ends, whole, ping, compressed] = [0x01, 0x00, 0x80, 0x81, 0x89, 0xc1]

  it.live("joins the fragments of a frame, and ends with a compressed one", () =>
    Effect.gen(function*() {
      const pieces = [frame(begins, "he"), frame(ping, ""), frame(goesOn, "l"), frame(ends, "lo")]
      assert.deepStrictEqual(yield* heard(...pieces, frame(whole, "end")), ["hello", "end"])
      assert.deepStrictEqual(yield* heard(...pieces, frame(compressed, "x")), ["hello", "WS_ERR_UNEXPECTED_RSV_1"])
    }))

  it.live("ends with fragments that are too many together, before they are all there", () =>
    Effect.gen(function*() {
      const pieces = Array.from({ length: 9 }, () => frame(goesOn, "x".repeat(120)))
      assert.deepStrictEqual(yield* heard(frame(begins, ""), ...pieces), ["WS_ERR_UNSUPPORTED_MESSAGE_LENGTH"])
    }))

  it.live("that wait for their turn when the connection breaks are read before its end", () =>
    Effect.gen(function*() {
      const url = yield* answering((socket, key) => {
        socket.once("data", () => socket.write(frame(whole, "last words")))
        socket.write(switching(acceptFor(key)))
      })
      const socket = yield* open(url)
      const connection = (socket as unknown as { readonly _socket: net.Socket })._socket
      const found: Array<string> = []
      // Others wait too, so that what comes is not read at once.
      const blocker = { onTurn: () => connection.destroyed || connection.readableLength > 0 || readTurns.wait(blocker) }
      readTurns.wait(blocker)
      yield* Effect.callback<void>((resume) => {
        socket.on("message", (data: Buffer) => found.push(data.toString()))
        socket.on("error", () => {})
        socket.on("close", () => resume(Effect.void))
        const unshift = connection.unshift.bind(connection)
        connection.unshift = (chunk: Buffer) => {
          unshift(chunk)
          connection.destroy(new Error("reset"))
        }
        socket.send("go")
      })
      assert.deepStrictEqual(found, ["last words"])
    }))
})
