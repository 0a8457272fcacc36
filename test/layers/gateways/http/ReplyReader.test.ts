import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { ReplyReader } from "../../../../src/layers/gateways/http/ReplyReader.ts"
import { propertyLimits } from "../../../support/propertyLimits.ts"

interface Outcome {
  readonly state: string
  readonly status: number
  readonly text: string | null
  readonly reusable: boolean
  readonly rest: string
}

/** Feeds the pieces, then the end of the connection if `ends`. */
const read = (pieces: ReadonlyArray<Buffer>, { bodyBytesMax = 1000, ends = false } = {}): Outcome => {
  const reader = new ReplyReader(bodyBytesMax)
  for (const piece of pieces) reader.read(piece)
  if (ends) reader.end()
  const { reusable, rest, state, status } = reader
  const text = state === "complete" ? reader.readText() : null
  const isRead = state === "complete" || state === "upgraded"
  return { state, status, text, reusable, rest: isRead ? rest.toString("latin1") : "" }
}

const reply = (head: string, body = ""): ReadonlyArray<Buffer> => [
  Buffer.from(`${head.trim().replaceAll(/\n */g, "\r\n")}\r\n\r\n${body}`)
]

const split = (whole: Buffer, cuts: ReadonlyArray<number>): ReadonlyArray<Buffer> => {
  const places = [0, ...cuts.map((cut) => cut % (whole.length + 1)).toSorted((a, b) => a - b), whole.length]
  return places.slice(1).map((end, index) => whole.subarray(places[index], end))
}

const chunked = (parts: ReadonlyArray<string>): string =>
  parts.filter((part) => part.length > 0)
    .map((part) => `${Buffer.byteLength(part).toString(16)};x=1\r\n${part}\r\n`).join("") + "0\r\nt: 1\r\n\r\n"

describe("an answer", () => {
  const parts = fc.array(fc.string({ unit: "grapheme", maxLength: 40 }), { maxLength: 5 })
  const framing = fc.constantFrom("length", "chunked", "until-end")
  const interim = fc.constantFrom("", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n")

  it("is read the same in whatever pieces it arrives", () => {
    fc.assert(
      fc.property(parts, framing, interim, fc.array(fc.nat(2000), { maxLength: 12 }), (texts, kind, first, cuts) => {
        const text = texts.join("")
        const head = kind === "length"
          ? `content-length: ${Buffer.byteLength(text)}\r\n`
          : kind === "chunked"
          ? "Transfer-Encoding: chunked\r\n"
          : ""
        const whole = Buffer.from(
          `${first}HTTP/1.1 200 OK\r\nServer: x\r\n${head}\r\n${kind === "chunked" ? chunked(texts) : text}`
        )
        const outcome = read(split(whole, cuts), { ends: kind === "until-end", bodyBytesMax: 10_000 })
        assert.deepStrictEqual(outcome, {
          state: "complete",
          status: 200,
          text,
          reusable: kind !== "until-end",
          rest: ""
        })
      }),
      propertyLimits(500)
    )
  })

  it("never throws, whatever the bytes, and keeps no more than its bounds", () => {
    const line = fc.constantFrom(
      "HTTP/1.1 200 OK\r\n",
      "content-length: 5\r\n",
      "transfer-encoding: chunked\r\n",
      "\r\n",
      "\n",
      "5\r\nhello\r\n",
      "0\r\n\r\n",
      "ffffffffffff\r\n",
      "x: \0\r\n",
      ": y\r\n"
    )
    const bytes = fc.oneof(line.map((text) => Buffer.from(text)), fc.uint8Array({ maxLength: 30 }).map(Buffer.from))
    fc.assert(
      fc.property(fc.array(bytes, { maxLength: 20 }), (pieces) => {
        const reader = new ReplyReader(16)
        for (const piece of pieces) reader.read(piece)
        reader.end()
        assert.isAtMost(reader.readText()?.length ?? 0, 16)
      }),
      propertyLimits(1000)
    )
  })

  it.each([
    ["is no HTTP", [Buffer.from("SSH-2.0-OpenSSH\r\n")]],
    ["is HTTP/2", [Buffer.from("HTTP/2 200\r\n\r\n")]],
    ["has two framings", reply("HTTP/1.1 200 OK\ncontent-length: 1\ntransfer-encoding: chunked", "x")],
    ["has two lengths", reply("HTTP/1.1 200 OK\ncontent-length: 1\ncontent-length: 2", "x")],
    ["has a signed length", reply("HTTP/1.1 200 OK\ncontent-length: +1", "x")],
    ["has an unknown coding", reply("HTTP/1.1 200 OK\ntransfer-encoding: gzip, chunked", "0\r\n\r\n")],
    ["has a folded header", [Buffer.from("HTTP/1.1 200 OK\r\na: b\r\n c\r\n\r\n")]],
    ["has a space before a colon", reply("HTTP/1.1 200 OK\na : b")],
    ["has a lone line feed", [Buffer.from("HTTP/1.1 200 OK\na: b\r\n\r\n")]],
    ["has a zero byte", [Buffer.from("HTTP/1.1 200 OK\r\na: \0\r\n\r\n")]],
    ["has a chunk of no size", reply("HTTP/1.1 200 OK\ntransfer-encoding: chunked", "\r\n")],
    ["has a chunk longer than it said", reply("HTTP/1.1 200 OK\ntransfer-encoding: chunked", "1\r\nxy\r\n0\r\n\r\n")],
    ["has a head without an end", [Buffer.from(`HTTP/1.1 200 OK\r\na: ${"x".repeat(17_000)}`)]],
    ["has an endless chunk line", reply("HTTP/1.1 200 OK\ntransfer-encoding: chunked", `1;${"x".repeat(300)}`)],
    ["has endless trailers", reply("HTTP/1.1 200 OK\ntransfer-encoding: chunked", `0\r\n${"t: x\r\n".repeat(4000)}`)]
  ])("that %s is refused", (_name, pieces) => {
    assert.strictEqual(read(pieces).state, "malformed")
  })

  it("above the bound is complete with its status and without its text", () => {
    const long = "x".repeat(20)
    const bound = { bodyBytesMax: 10 }
    for (
      const pieces of [
        reply("HTTP/1.1 404 Not Found\ncontent-length: 20"),
        reply("HTTP/1.1 404 Not Found", long),
        reply("HTTP/1.1 404 Not Found\ntransfer-encoding: chunked", chunked([long]))
      ]
    ) {
      const { reusable, state, status, text } = read(pieces, bound)
      assert.deepStrictEqual({ state, status, text, reusable }, {
        state: "complete",
        status: 404,
        text: null,
        reusable: false
      })
    }
  })

  it("leaves the connection reusable only if nothing forbids it", () => {
    const reusable = (head: string, body = "") => read(reply(head, body)).reusable
    assert.isTrue(reusable("HTTP/1.1 204 No Content"))
    assert.isTrue(reusable("HTTP/1.1 200 OK\ncontent-length: 1", "x"))
    assert.isFalse(reusable("HTTP/1.0 200 OK\ncontent-length: 1", "x"))
    assert.isFalse(reusable("HTTP/1.1 200 OK\nconnection: Close\ncontent-length: 1", "x"))
    assert.isFalse(reusable("HTTP/1.1 200 OK\ncontent-length: 1", "xHTTP/1.1 200 OK"))
  })

  it("that breaks off is not complete", () => {
    assert.strictEqual(read(reply("HTTP/1.1 200 OK\ncontent-length: 5", "x"), { ends: true }).state, "body")
    assert.strictEqual(read([Buffer.from("HTTP/1.1 200")], { ends: true }).state, "head")
  })

  it("that changes the protocol ends with its head, and the following bytes are kept unchanged", () => {
    const head = "HTTP/1.1 101 Switching Protocols\nUpgrade: websocket\nX: a\nx: b"
    const reader = new ReplyReader(10)
    for (const piece of reply(head, "\x81\x01x")) reader.read(piece)
    assert.strictEqual(reader.state, "upgraded")
    assert.deepStrictEqual({ ...reader.headers }, { upgrade: "websocket", x: "a, b" })
    assert.strictEqual(reader.rest.length, 4)
  })
})
