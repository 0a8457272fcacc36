import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Scope } from "effect"
import * as net from "node:net"
import type { AddressInfo } from "node:net"
import * as tls from "node:tls"
import { readTurns } from "../../../../src/layers/gateways/http/ReadTurns.ts"
import type { ClientSocket } from "../../../../src/layers/gateways/websocket/ClientSocket.ts"
import { makeOrigin, openWebSocket } from "../../../../src/layers/gateways/websocket/handshake.ts"
import { localhost } from "../../../support/certificate.ts"
import { acceptFor, closeFrame, Heard, readClientFrame, serverFrame, switching } from "../../../support/webSockets.ts"

const [text, begins, ends, ping] = [0x81, 0x01, 0x80, 0x89]

/** The server's side of one connection. */
interface Peer {
  readonly connection: net.Socket
  /** The frames that the client has sent, as text: `ping`, `pong 6162`, `close 03e8`; `end` once it sends nothing more. */
  readonly sent: Array<string>
  /** The first entry that starts with this. */
  readonly until: (beginning: string) => Effect.Effect<string>
  readonly write: (...frames: ReadonlyArray<Buffer>) => void
}

const opcodes: Readonly<Record<number, string>> = { 0x8: "close", 0x9: "ping", 0xa: "pong" }

const makePeer = (connection: net.Socket): Peer => {
  const sent: Array<string> = []
  let tell: (word: string) => void = () => {}
  const say = (word: string) => {
    sent.push(word)
    tell(word)
  }
  let bytes = Buffer.alloc(0)
  connection.on("error", () => {})
  connection.on("end", () => say("end"))
  connection.on("data", (data: Buffer) => {
    bytes = Buffer.concat([bytes, data])
    while (bytes.length > 0) {
      const frame = readClientFrame(bytes)
      if (frame === null) return say("a frame without a mask")
      bytes = Buffer.from(frame.rest)
      say(`${opcodes[frame.opcode]} ${frame.content.toString("hex")}`.trimEnd())
    }
  })
  return {
    connection,
    sent,
    until: (beginning) =>
      Effect.callback((resume) => {
        const said = sent.find((word) => word.startsWith(beginning))
        if (said !== undefined) return resume(Effect.succeed(said))
        tell = (word) => {
          if (word.startsWith(beginning)) resume(Effect.succeed(word))
        }
      }),
    write: (...frames) => void connection.write(Buffer.concat(frames))
  }
}

interface Pair {
  readonly socket: ClientSocket
  readonly heard: Heard
  readonly peer: Peer
}

/** A client and its server, by TLS or without. `behind`: bytes that arrive together with the end of the handshake. */
const connect = (
  options: { readonly secure?: boolean; readonly behind?: Buffer; readonly bytesMax?: number } = {}
): Effect.Effect<Pair, never, Scope.Scope> =>
  Effect.gen(function*() {
    let peer: Peer | undefined
    const accept = (connection: net.Socket) => {
      connection.on("error", () => {})
      connection.once("data", (data: Buffer) => {
        const key = /Sec-WebSocket-Key: (\S+)/.exec(data.toString())![1]!
        peer = makePeer(connection)
        peer.write(Buffer.from(switching(acceptFor(key))), options.behind ?? Buffer.alloc(0))
      })
    }
    const server = options.secure === true
      ? tls.createServer({ ...localhost, allowHalfOpen: true }, accept)
      : net.createServer({ allowHalfOpen: true }, accept)
    yield* Effect.acquireRelease(
      Effect.callback<void>((resume) => void server.listen(0, "127.0.0.1", () => resume(Effect.void))),
      () => Effect.sync(() => server.close())
    )
    const scheme = options.secure === true ? "wss" : "ws"
    const url = `${scheme}://localhost:${(server.address() as AddressInfo).port}/`
    const opened = yield* Effect.acquireRelease(
      Effect.callback<Omit<Pair, "peer">>((resume) => {
        openWebSocket(
          { origin: makeOrigin(url), millis: 5000, frameBytesHardMax: options.bytesMax ?? 100_000 },
          { url, headers: {} },
          (socket) => resume(Effect.succeed({ socket, heard: new Heard(socket) })),
          ({ failure }) => resume(Effect.die(failure.detail))
        )
      }),
      ({ socket }) => Effect.sync(() => socket.terminate())
    )
    yield* Effect.addFinalizer(() => Effect.sync(() => peer!.connection.destroy()))
    return { ...opened, peer: peer! }
  })

const trustLocalhost = Effect.suspend(() => {
  const trusted = tls.getCACertificates("default")
  return Effect.acquireRelease(
    Effect.sync(() => tls.setDefaultCACertificates([...trusted, localhost.cert])),
    () => Effect.sync(() => tls.setDefaultCACertificates(trusted))
  )
})

describe("a WebSocket", () => {
  it.live.each([false, true])("answers pings with their payload, by TLS: %s", (secure) =>
    Effect.gen(function*() {
      yield* trustLocalhost
      const { heard, peer, socket } = yield* connect({ secure })
      peer.write(serverFrame(ping, ""), serverFrame(begins, "a"), serverFrame(ping, "ab"), serverFrame(ends, "b"))
      yield* peer.until("pong 6162")
      assert.deepStrictEqual(peer.sent, ["pong", "pong 6162"])
      assert.deepStrictEqual(heard.words, ["text ab"])
      socket.ping()
      yield* peer.until("ping")
      peer.write(serverFrame(0x8a, ""))
      yield* heard.until("pong")
    }))

  it.live("closes a connection whose server does not read the answers to its pings", () =>
    Effect.gen(function*() {
      const { heard, peer } = yield* connect()
      peer.connection.pause()
      const pings = Buffer.concat(Array.from({ length: 1000 }, () => serverFrame(ping, Buffer.alloc(125))))
      const flood = (error: Error | null = null) => {
        if (error === null) peer.connection.write(pings, flood)
      }
      flood()
      assert.strictEqual(yield* heard.until("close"), "close 1006")
    }))

  it.live("reads bytes that arrive together with the handshake, after its listener was set", () =>
    Effect.gen(function*() {
      const behind = Buffer.concat([serverFrame(text, "one"), serverFrame(text, "two").subarray(0, 3)])
      const { heard, peer } = yield* connect({ behind })
      yield* heard.until("text one")
      peer.write(serverFrame(text, "two").subarray(3))
      yield* heard.until("text two")
      assert.deepStrictEqual(heard.words, ["text one", "text two"])
    }))
})

describe("the end of a WebSocket", () => {
  it.live.each(
    [
      ["a code and a reason", closeFrame(4001, "so"), "close 4001 so", "close 0fa1"],
      ["a code", closeFrame(1000), "close 1000", "close 03e8"],
      ["no code", serverFrame(0x88, ""), "close 1005", "close"]
    ] as const
  )(
    "by a close frame with %s is answered, and nothing is read or sent after it",
    ([, frame, said, answer]) =>
      Effect.gen(function*() {
        const { heard, peer } = yield* connect()
        peer.write(serverFrame(text, "a"), frame, serverFrame(ping, ""), serverFrame(text, "b"), closeFrame(1001))
        yield* peer.until("end")
        peer.connection.end()
        assert.strictEqual(yield* heard.until("close"), said)
        assert.deepStrictEqual(heard.words, ["text a", said])
        assert.deepStrictEqual(peer.sent, [answer, "end"])
      })
  )

  it.live.each(
    [
      ["reserved-bits", serverFrame(0xc1, "x"), "03ea"],
      ["not-utf-8", serverFrame(text, Buffer.from([0xff])), "03ef"],
      ["too-large", serverFrame(text, "x".repeat(101)), "03f1"],
      ["close-code", closeFrame(1005), "03ea"]
    ] as const
  )("by a protocol violation (%s) reports the cause, once", ([violation, frame, code]) =>
    Effect.gen(function*() {
      const { heard, peer } = yield* connect({ bytesMax: 100 })
      peer.write(serverFrame(text, "a"), frame, frame, serverFrame(text, "b"))
      yield* peer.until("end")
      peer.connection.end()
      yield* heard.until("close")
      assert.deepStrictEqual(heard.words, ["text a", `violation ${violation}`, "close 1006"])
      assert.deepStrictEqual(peer.sent, [`close ${code}`, "end"])
    }))

  it.live("by this side waits for the server's answer, and reads frames that come before it", () =>
    Effect.gen(function*() {
      const { heard, peer, socket } = yield* connect()
      socket.close(1001)
      socket.ping()
      yield* peer.until("close")
      peer.write(serverFrame(text, "late"), serverFrame(ping, ""), closeFrame(1001))
      yield* peer.until("end")
      peer.connection.end()
      assert.strictEqual(yield* heard.until("close"), "close 1001")
      assert.deepStrictEqual(heard.words, ["text late", "close 1001"])
      assert.deepStrictEqual(peer.sent, ["close 03e9", "end"])
    }))

  it.live.each(
    [
      ["does not answer the close frame", () => {}],
      ["answers and does not close", (peer: Peer) => peer.write(closeFrame(1001))]
    ] as const
  )("comes soon if the server %s", ([, answer]) =>
    Effect.gen(function*() {
      const { heard, peer, socket } = yield* connect()
      peer.connection.pause()
      socket.close(1001)
      answer(peer)
      assert.match(yield* heard.until("close"), /^close 100[16]$/)
    }))

  it.live.each([false, true])(
    "without a close frame is 1006, after all frames before it, by TLS: %s",
    (secure) =>
      Effect.gen(function*() {
        yield* trustLocalhost
        const { heard, peer } = yield* connect({ secure })
        peer.write(serverFrame(text, "last words"), serverFrame(text, "unfinished").subarray(0, 5))
        peer.connection.end()
        assert.strictEqual(yield* heard.until("close"), "close 1006")
        assert.deepStrictEqual(heard.words, ["text last words", "close 1006"])
      })
  )
})

const busyWait = (millis: number): void => {
  const until = performance.now() + millis
  while (performance.now() < until);
}

describe("a WebSocket that is paused", () => {
  it.live.each([false, true])(
    "passes on nothing after the message, and continues there, by TLS: %s",
    (secure) =>
      Effect.gen(function*() {
        yield* trustLocalhost
        const { heard, peer, socket } = yield* connect({ secure })
        const total = 2000
        const said = Array.from({ length: total }, (_, number) => String(number).padEnd(500))
        peer.write(...said.map((word) => serverFrame(text, word)))
        let paused = false
        let early = 0
        yield* Effect.callback<void>((resume) => {
          heard.onWord = () => {
            if (paused) early++
            const { length } = heard.words
            if (length === total) return resume(Effect.void)
            if (length % 300 !== 0) return
            paused = true
            socket.pause()
            // Long enough for more frames to arrive, if it read them.
            setTimeout(() => {
              paused = false
              socket.resume()
            }, 20)
          }
        })
        assert.strictEqual(early, 0)
        assert.deepStrictEqual(heard.words, said.map((word) => `text ${word}`))
      })
  )

  it.live("passes on what it had read when the connection ends", () =>
    Effect.gen(function*() {
      const { heard, peer, socket } = yield* connect()
      heard.onWord = (word) => {
        if (word === "text one") socket.pause()
      }
      peer.write(serverFrame(text, "one"), serverFrame(text, "two"), serverFrame(text, "three"))
      yield* heard.until("text one")
      socket.terminate()
      yield* heard.until("close")
      assert.deepStrictEqual(heard.words, ["text one", "text two", "text three", "close 1006"])
    }))

  it.live("receives the end once it continues", () =>
    Effect.gen(function*() {
      const { heard, peer, socket } = yield* connect()
      socket.pause()
      peer.write(serverFrame(text, "one"), closeFrame(1000))
      peer.connection.end()
      socket.resume()
      yield* heard.until("close")
      assert.deepStrictEqual(heard.words, ["text one", "close 1000"])
    }))
})

describe("WebSockets in a burst", () => {
  const frames = 50
  const frameMillis = 0.4
  /** So long that a connection has several chunks to read. */
  const frameBytes = 8_000
  const name = (frame: number): string => `frame ${frame} `.padEnd(frameBytes, "-")

  it.live("yield to the event loop, keep the order, and pass on all frames before the end", () =>
    Effect.gen(function*() {
      const pairs = yield* Effect.forEach(Array.from({ length: 20 }), () => connect(), { concurrency: "unbounded" })
      const ended = pairs.map(({ heard, socket }) =>
        Effect.callback<void>((resume) => {
          heard.onWord = (word) => {
            if (word.startsWith("close")) return resume(Effect.void)
            busyWait(frameMillis)
            // Several chunks wait by the time at which it reads again.
            if (heard.words.length === 1) {
              socket.pause()
              setTimeout(() => socket.resume(), 100)
            }
          }
        })
      )
      let turns = 0
      const count = () => {
        turns++
        counting = setImmediate(count)
      }
      let counting = setImmediate(count)
      // All frames, and the end, before the first is read.
      for (const { peer } of pairs) {
        for (let frame = 0; frame < frames; frame++) peer.connection.write(serverFrame(text, name(frame)))
        peer.connection.end()
      }
      yield* Effect.all(ended, { concurrency: "unbounded", discard: true })
      clearImmediate(counting)
      const expected = [...Array.from({ length: frames }, (_, frame) => `text ${name(frame)}`), "close 1006"]
      for (const { heard } of pairs) assert.deepStrictEqual(heard.words, expected)
      // Reading takes 400 ms at least, and a turn has two slices of 10 ms and the piece that was begun in each.
      assert.isAbove(turns, 5)
    }))

  it.live("read waiting frames before the end of a connection that breaks", () =>
    Effect.gen(function*() {
      const { heard, peer, socket } = yield* connect()
      // Others wait too, so that arriving bytes are not read at once.
      let over = false
      const blocker = { onTurn: () => void (over || readTurns.wait(blocker)) }
      readTurns.wait(blocker)
      peer.write(serverFrame(text, "last words"))
      peer.connection.end()
      const keep = socket.onRead.bind(socket)
      const before: Array<string> = []
      socket.onRead = (data) => {
        keep(data)
        before.push(...heard.words)
        over = true
        socket.terminate()
      }
      yield* heard.until("close")
      assert.deepStrictEqual(before, [])
      assert.deepStrictEqual(heard.words, ["text last words", "close 1006"])
    }))
})
