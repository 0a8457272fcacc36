import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as net from "node:net"
import type { AddressInfo } from "node:net"
import { WebSocketServer } from "ws"
import { ClientSocket } from "../../../../src/layers/gateways/http/ClientSocket.ts"
import { ReadTurns } from "../../../../src/layers/gateways/http/ReadTurns.ts"

/** Turns over a clock that the test moves, in a loop that it turns. */
const makeLoop = () => {
  const loop = { time: 1000, due: [] as Array<() => void> }
  const turns = new ReadTurns({ now: () => loop.time, later: (turn) => loop.due.push(turn) })
  /** A chunk that takes so long, if it may be read. */
  const read = (millis: number): boolean => {
    if (!turns.begin()) return false
    loop.time += millis
    turns.done()
    return true
  }
  const turn = () => {
    for (const due of loop.due.splice(0)) due()
  }
  return { loop, turns, read, turn }
}

describe("turns of reading", () => {
  it("reads for a slice, and again once the loop has turned", () => {
    const { loop, read, turn } = makeLoop()
    assert.deepStrictEqual([read(4), read(4), read(4), read(4), read(4)], [true, true, true, false, false])
    assert.strictEqual(loop.due.length, 1)
    turn()
    assert.isTrue(read(4))
  })

  it("schedules nothing while chunks come one by one", () => {
    const { loop, read } = makeLoop()
    for (let chunk = 0; chunk < 100; chunk++) {
      assert.isTrue(read(1))
      loop.time += 1
    }
    assert.deepStrictEqual(loop.due, [])
  })

  it("serves who waits in order, a slice per turn, and lets nobody overtake", () => {
    const { loop, read, turn, turns } = makeLoop()
    const served: Array<string> = []
    const reader = (name: string, chunks: number) => {
      const self = {
        onTurn: () => {
          served.push(name)
          loop.time += 6
          if (--chunks > 0) turns.wait(self)
        }
      }
      return self
    }
    turns.wait(reader("a", 2))
    turns.wait(reader("b", 1))
    turns.wait(reader("c", 1))
    assert.isFalse(read(1), "others wait")
    turn()
    assert.deepStrictEqual(served, ["a", "b"])
    assert.isFalse(read(1), "others wait still")
    turn()
    assert.deepStrictEqual(served, ["a", "b", "c", "a"])
    turn()
    assert.isTrue(read(1))
    assert.deepStrictEqual([served.length, loop.due], [4, []])
  })
})

const busyWait = (millis: number): void => {
  const until = performance.now() + millis
  while (performance.now() < until);
}

const connections = 20
const frames = 50
/** More than a slice per connection. */
const frameMillis = 0.4
const pauseMillis = 100
/** So long that what a connection has to read is several chunks. */
const frameBytes = 8_000

const name = (frame: number): string => `frame ${frame} `.padEnd(frameBytes, "-")

const encode = (text: string): Buffer => {
  const head = Buffer.from([0x81, 126, 0, 0])
  head.writeUInt16BE(text.length, 2)
  return Buffer.concat([head, Buffer.from(text)])
}

describe("sockets in a burst", () => {
  it.live("give the loop its turn, keep the order, and give all that came before the end", () =>
    Effect.gen(function*() {
      const opened: Array<net.Socket> = []
      const server = net.createServer((socket) => {
        opened.push(socket)
        socket.on("error", () => {})
      })
      const port = yield* Effect.callback<number>((resume) => {
        server.listen(0, "127.0.0.1", () => resume(Effect.succeed((server.address() as AddressInfo).port)))
      })
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      const received: Array<Array<string>> = []
      const ended = Array.from({ length: connections }, (_, index) =>
        Effect.callback<void>((resume) => {
          const socket = net.connect({ host: "127.0.0.1", port }, () => {
            const client = new ClientSocket()
            received[index] = []
            client.on("message", (data: Buffer) => {
              received[index]!.push(data.toString())
              busyWait(frameMillis)
              // Several chunks wait in its buffer by the time at which it reads again.
              if (received[index]!.length === 1) {
                client.pause()
                setTimeout(() => client.resume(), pauseMillis)
              }
            })
            client.on("close", () => {
              received[index]!.push("end")
              resume(Effect.void)
            })
            client.on("error", () => {})
            client.take(socket, Buffer.alloc(0), frameBytes)
          })
        }))
      let turns = 0
      const count = () => {
        turns++
        counting = setImmediate(count)
      }
      let counting = setImmediate(() => {})
      const send = Effect.callback<void>((resume) => {
        const look = () => {
          if (opened.length < connections || received.filter(() => true).length < connections) {
            setImmediate(look)
            return
          }
          // All of it, and the end, before the first is read.
          for (const socket of opened) {
            for (let frame = 0; frame < frames; frame++) {
              socket.write(encode(name(frame)))
            }
            socket.end()
          }
          counting = setImmediate(count)
          resume(Effect.void)
        }
        look()
      })
      yield* Effect.all([...ended, send], { concurrency: "unbounded", discard: true })
      clearImmediate(counting)
      const expected = [...Array.from({ length: frames }, (_, frame) => name(frame)), "end"]
      for (const one of received) assert.deepStrictEqual(one, expected)
      // Reading takes 400 ms at least, and a turn has two slices of 10 ms and the chunk that was begun in each.
      assert.isAbove(turns, 5)
    }).pipe(Effect.scoped))

  it.live("read nothing more while they are paused, and go on where they were", () =>
    Effect.gen(function*() {
      const server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
      yield* Effect.addFinalizer(() => Effect.sync(() => server.close()))
      yield* Effect.callback<void>((resume) => void server.once("listening", () => resume(Effect.void)))
      const { port } = server.address() as AddressInfo
      const total = 2000
      server.on("connection", (socket) => {
        for (let number = 0; number < total; number++) socket.send(String(number).padEnd(500))
      })
      const received: Array<number> = []
      yield* Effect.callback<void>((resume) => {
        const socket = net.connect({ host: "127.0.0.1", port }, () => {
          socket.write(
            "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
              "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
          )
          socket.once("data", (answer: Buffer) => {
            const client = new ClientSocket()
            client.on("message", (data: Buffer) => {
              received.push(Number(data.toString()))
              busyWait(0.1)
              if (received.length % 300 === 0) {
                client.pause()
                const before = received.length
                setTimeout(() => {
                  // At most what was read from the system as one chunk.
                  assert.isBelow(received.length - before, 140)
                  client.resume()
                }, 20)
              }
              if (received.length === total) {
                client.terminate()
                resume(Effect.void)
              }
            })
            const end = answer.indexOf("\r\n\r\n") + 4
            client.take(socket, answer.subarray(end), 1000)
          })
        })
      })
      assert.deepStrictEqual(received, Array.from({ length: total }, (_, number) => number))
    }).pipe(Effect.scoped))
})
