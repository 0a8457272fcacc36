/**
 * The cases of the Autobahn suite for clients as far as they concern frames (sections 1 to 7 and 9), and random frames
 * compared with the reader of `ws`. Cases that need a connection are in `ClientSocket.test.ts`.
 */
import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import { createRequire } from "node:module"
import type { Writable } from "node:stream"
import { FrameReader } from "../../../../src/layers/gateways/websocket/FrameReader.ts"
import { propertyLimits } from "../../../support/propertyLimits.ts"
import { closeFrame, serverFrame } from "../../../support/webSockets.ts"

const messageBytesMax = 16 * 1024 * 1024

const describeMessage = (data: Buffer, isBinary: boolean): string =>
  data.length > 200
    ? `${isBinary ? "binary" : "text"} of ${data.length}`
    : isBinary
    ? `binary ${data.toString("hex")}`
    : `text ${data.toString("utf8")}`

/** The output of the reader for these chunks, one after the other. */
const readPieces = (pieces: ReadonlyArray<Buffer>, bytesMax = messageBytesMax): ReadonlyArray<string> => {
  const heard: Array<string> = []
  const reader = new FrameReader({
    onMessage: (data, isBinary) => heard.push(describeMessage(data, isBinary)),
    onPing: (data) => heard.push(`ping ${data.toString("hex")}`.trimEnd()),
    onPong: () => heard.push("pong"),
    onCloseFrame: (code, reason) => heard.push(`close ${code} ${reason}`.trimEnd()),
    onViolation: (violation) => heard.push(`violation ${violation}`)
  }, bytesMax)
  // One buffer for all of them, as connections share one: data that is kept must have been copied.
  const shared = Buffer.alloc(Math.max(1, ...pieces.map((piece) => piece.length)))
  for (const piece of pieces) {
    const data = shared.subarray(0, piece.copy(shared))
    assert.strictEqual(reader.read(data), data.length)
  }
  return heard
}

const cut = (bytes: Buffer, size: number): ReadonlyArray<Buffer> =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => bytes.subarray(index * size, (index + 1) * size))

/** The same however the bytes are split. */
const read = (...frames: ReadonlyArray<Buffer>): ReadonlyArray<string> => {
  const bytes = Buffer.concat(frames)
  const whole = readPieces([bytes])
  assert.deepStrictEqual(readPieces(frames), whole)
  for (const size of bytes.length > 10_000 ? [997, 65_536] : [1, 2, 3, 997]) {
    assert.deepStrictEqual(readPieces(cut(bytes, size)), whole, `in pieces of ${size}`)
  }
  return whole
}

const [text, binary, begins, beginsBinary, goesOn, ends, ping, pong] = [0x81, 0x82, 0x01, 0x02, 0x00, 0x80, 0x89, 0x8a]
const frame = serverFrame
const after = frame(text, "after")

describe("complete frames are read", () => {
  it.each([0, 125, 126, 127, 128, 65_535, 65_536, 1_000_000])("of %i bytes", (length) => {
    const content = "*".repeat(length)
    const [asText, asBinary] = [Buffer.from(content), Buffer.alloc(length, 0xfe)]
    assert.deepStrictEqual(read(frame(text, content), frame(binary, asBinary), after), [
      describeMessage(asText, false),
      describeMessage(asBinary, true),
      "text after"
    ])
  })

  it("that are pings and pongs with their payload, up to 125 bytes", () => {
    assert.deepStrictEqual(
      read(frame(ping, ""), frame(ping, "ab"), frame(pong, ""), frame(pong, "x"), frame(ping, Buffer.alloc(125, 0xff))),
      ["ping", "ping 6162", "pong", "pong", `ping ${"ff".repeat(125)}`]
    )
    for (const head of [ping, pong]) {
      assert.deepStrictEqual(read(frame(head, Buffer.alloc(126)), after), ["violation control-frame"])
    }
  })
})

describe("a protocol violation ends the reading", () => {
  it.each([1, 2, 3, 4, 5, 6, 7])("reserved bits %i, in each kind of frame", (bits) => {
    for (const head of [text, binary, ping, pong, 0x88]) {
      assert.deepStrictEqual(read(after, frame(head | (bits << 4), "x"), after), [
        "text after",
        "violation reserved-bits"
      ])
    }
  })

  it.each([3, 4, 5, 6, 7, 11, 12, 13, 14, 15])("opcode %i", (opcode) => {
    for (const content of ["", "x"]) {
      assert.deepStrictEqual(read(after, frame(0x80 | opcode, content), after), [
        "text after",
        "violation unknown-opcode"
      ])
    }
  })

  it("a mask, which only clients use", () => {
    for (const head of [text, binary, ping, 0x88]) {
      assert.deepStrictEqual(read(Buffer.from([head, 0x81, 1, 2, 3, 4, 5]), after), ["violation masked-frame"])
    }
  })

  it("a length that no number holds exactly", () => {
    for (const high of [0xff, 0x80, 0x00]) {
      const bytes = Buffer.from([text, 127, high, 0x20, 0, 0, 0, 0, 0, 0])
      assert.deepStrictEqual(readPieces([bytes]), ["violation too-large"])
    }
  })
})

describe("messages in fragments", () => {
  it("are joined, with control frames between them", () => {
    assert.deepStrictEqual(
      read(
        frame(begins, "one "),
        frame(ping, "1"),
        frame(goesOn, "two "),
        frame(pong, ""),
        frame(ends, "three"),
        after
      ),
      ["ping 31", "pong", "text one two three", "text after"]
    )
    assert.deepStrictEqual(read(frame(beginsBinary, "a"), frame(ends, "b")), ["binary 6162"])
  })

  it("may be empty, each or all", () => {
    const [first, middle, last] = [frame(begins, ""), frame(goesOn, ""), frame(ends, "")]
    assert.deepStrictEqual(read(first, middle, last, after), ["text ", "text after"])
    assert.deepStrictEqual(read(first, frame(goesOn, "middle"), last, after), ["text middle", "text after"])
  })

  it.each(
    [
      ["a control frame in fragments", [frame(ping & 0x7f, "a"), frame(ends, "b")], ["violation control-frame"]],
      ["a close frame in fragments", [frame(0x08, "")], ["violation control-frame"]],
      ["going on with nothing, as the last", [frame(ends, "x"), after], ["violation unknown-opcode"]],
      ["going on with nothing", [frame(goesOn, "x"), after], ["violation unknown-opcode"]],
      [
        "going on with what has ended",
        [frame(begins, "a"), frame(ends, "b"), frame(goesOn, "c"), after],
        ["text ab", "violation unknown-opcode"]
      ],
      ["a message within a message", [frame(begins, "a"), frame(text, "b"), after], ["violation unknown-opcode"]],
      ["beginning twice", [frame(begins, ""), frame(begins, "b"), after], ["violation unknown-opcode"]]
    ] as const
  )("%s is refused", (_name, frames, expected) => {
    assert.deepStrictEqual(read(...frames), expected)
  })

  it("are read in any number and size", () => {
    const bytes = Buffer.alloc(65_536, 0x2a)
    const fragments = (size: number) =>
      cut(bytes, size).map((piece, index, all) =>
        frame(index === 0 ? begins : index === all.length - 1 ? ends : goesOn, piece)
      )
    for (const size of [64, 1_300, 50_000]) assert.deepStrictEqual(read(...fragments(size)), ["text of 65536"])
    assert.deepStrictEqual(readPieces(fragments(1)), ["text of 65536"])
  })
})

describe("a message above the bound", () => {
  it("is refused by its announced length, before it has arrived", () => {
    assert.deepStrictEqual(readPieces([frame(text, "12345678")], 8), ["text 12345678"])
    assert.deepStrictEqual(readPieces([frame(text, "123456789").subarray(0, 2)], 8), ["violation too-large"])
    const announced = Buffer.from([begins, 127, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff])
    assert.deepStrictEqual(readPieces([announced], messageBytesMax), ["violation too-large"])
  })

  it("is refused once its fragments are too large together", () => {
    const pieces = [frame(begins, "1234"), frame(goesOn, "5678"), frame(ping, ""), frame(ends, "9")]
    assert.deepStrictEqual(readPieces(pieces, 8), ["ping", "violation too-large"])
    assert.deepStrictEqual(readPieces([...pieces.slice(0, 3), frame(ends, "")], 8), ["ping", "text 12345678"])
  })

  it("takes memory for the bytes received, and not for the announced length", () => {
    const announced = Buffer.from([binary, 127, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 1, 2, 3])
    const before = process.memoryUsage().arrayBuffers
    const readers = Array.from({ length: 100 }, () => {
      const reader = new FrameReader({} as never, messageBytesMax)
      reader.read(announced)
      return reader
    })
    assert.isBelow(process.memoryUsage().arrayBuffers - before, readers.length * 65_536)
  })
})

describe("text", () => {
  const valid = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "\u03ba\u1f79\u03c3\u03bc\u03b5",
    "\u0000",
    "\u007f",
    "\u0080",
    "\u07ff",
    "\u0800",
    "\ud7ff\ue000\ufffd\uffff",
    "\ufeff",
    "\u{10000}\u{10ffff}",
    "\ufdd0\ufffe\u{1fffe}"
  ]
  it.each(valid)("%j is read, in one piece and cut anywhere", (content) => {
    const bytes = Buffer.from(content)
    assert.deepStrictEqual(read(frame(text, bytes)), [`text ${content}`])
    const octets = [...bytes].map((byte) => frame(goesOn, Buffer.from([byte])))
    assert.deepStrictEqual(read(frame(begins, ""), ...octets, frame(ends, "")), [`text ${content}`])
  })

  it.each([
    "cebae1bdb9cf83cebcceb5eda080656469746564",
    "80",
    "bf",
    "80bf80bf80bf",
    "fe",
    "ff",
    "fefeffff",
    "c0",
    "c0af",
    "e080af",
    "f08080af",
    "f8808080af",
    "fc80808080af",
    "c1bf",
    "e09fbf",
    "f08fbfbf",
    "f888808080",
    "fc8480808080",
    "ce",
    "e1bd",
    "f09080",
    "eda080",
    "edafbf",
    "edb080",
    "eda080edb080",
    "f4908080",
    "f7bfbfbf"
  ])("%s is refused", (hex) => {
    const bytes = Buffer.from(hex, "hex")
    assert.deepStrictEqual(read(after, frame(text, bytes), after), ["text after", "violation not-utf-8"])
    const octets = [...bytes].map((byte) => frame(goesOn, Buffer.from([byte])))
    assert.deepStrictEqual(read(frame(begins, ""), ...octets, frame(ends, ""), after), ["violation not-utf-8"])
  })
})

describe("the close frame", () => {
  it("is the last frame that is read", () => {
    const rest = [closeFrame(1000), frame(ping, ""), after]
    assert.deepStrictEqual(read(after, closeFrame(1001, "bye"), ...rest), ["text after", "close 1001 bye"])
    assert.deepStrictEqual(read(frame(begins, "a"), closeFrame(1000), frame(ends, "b")), ["close 1000"])
  })

  it("may have no code, and a reason of 123 bytes", () => {
    assert.deepStrictEqual(read(frame(0x88, "")), ["close 1005"])
    assert.deepStrictEqual(read(closeFrame(1000, "x".repeat(123))), [`close 1000 ${"x".repeat(123)}`])
    assert.deepStrictEqual(read(closeFrame(1000, "x".repeat(124))), ["violation control-frame"])
    assert.deepStrictEqual(read(frame(0x88, "x")), ["violation control-frame"])
    assert.deepStrictEqual(read(closeFrame(1000, Buffer.from("eda080", "hex"))), ["violation not-utf-8"])
  })

  it.each([1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999])(
    "may say %i",
    (code) => {
      assert.deepStrictEqual(read(closeFrame(code)), [`close ${code}`])
    }
  )

  it.each([0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535])("may not say %i", (code) => {
    assert.deepStrictEqual(read(closeFrame(code, "x")), ["violation close-code"])
  })
})

describe("a reader that is halted", () => {
  it("continues where it was, whatever the frame", () => {
    const frames = [frame(text, "one"), frame(text, "two"), frame(ping, ""), frame(begins, "th"), frame(ends, "ree")]
    const bytes = Buffer.concat(frames)
    for (let size = 1; size <= bytes.length; size++) {
      const heard: Array<string> = []
      const reader: FrameReader = new FrameReader({
        onMessage: (data) => {
          heard.push(data.toString())
          reader.halt()
        },
        onPing: () => heard.push("ping"),
        onPong: () => {},
        onCloseFrame: () => {},
        onViolation: () => assert.fail("nothing is broken")
      }, messageBytesMax)
      for (const piece of cut(bytes, size)) {
        let left = piece
        while (left.length > 0) {
          const before = heard.filter((word) => word !== "ping").length
          left = left.subarray(reader.read(left))
          assert.isAtMost(heard.filter((word) => word !== "ping").length - before, 1)
        }
      }
      assert.deepStrictEqual(heard, ["one", "two", "ping", "three"])
    }
  })
})

interface Receiver extends Writable {
  readonly on: (event: string, listener: (...args: Array<never>) => void) => this
}

/** Not exported by name, but part of its package. */
const OtherReader = createRequire(import.meta.url)("ws").Receiver as new(options: object) => Receiver

/** The output of `ws` for the same bytes, in the same form. */
const readByWs = (bytes: Buffer, bytesMax: number): ReadonlyArray<string> => {
  const heard: Array<string> = []
  const reader = new OtherReader({ isServer: false, maxPayload: bytesMax, allowSynchronousEvents: true })
  reader.on("message", (data: Buffer, isBinary: boolean) => heard.push(describeMessage(data, isBinary)))
  reader.on("ping", (data: Buffer) => heard.push(`ping ${data.toString("hex")}`.trimEnd()))
  reader.on("pong", () => heard.push("pong"))
  reader.on("conclude", (code: number, reason: Buffer) => heard.push(`close ${code} ${reason.toString()}`.trimEnd()))
  reader.on("error", () => {})
  reader.write(bytes, () => {})
  if (reader.errored !== null) heard.push("violation")
  return heard
}

describe("any frames", () => {
  const content = fc.oneof(
    fc.uint8Array({ maxLength: 140 }),
    fc.string({ unit: "grapheme", maxLength: 40 }).map((value) => new Uint8Array(Buffer.from(value))),
    fc.constantFrom(1000, 1001, 999, 4000).map((code) => new Uint8Array(closeFrame(code).subarray(2)))
  )
  const head = fc.oneof(
    {
      weight: 9,
      arbitrary: fc.constantFrom(text, binary, begins, beginsBinary, goesOn, goesOn, ends, ends, ping, pong)
    },
    { weight: 1, arbitrary: fc.constantFrom(0x88, 0x08, 0xc1, 0x83, 0x8b, 0x09) }
  )
  const frames = fc.array(fc.tuple(head, content, fc.boolean()), { maxLength: 20 })

  it("are read as `ws` reads them, however they arrive", () => {
    fc.assert(
      fc.property(frames, fc.array(fc.integer({ min: 1, max: 200 }), { minLength: 1 }), (some, sizes) => {
        const bytes = Buffer.concat(some.map(([first, body]) => frame(first, body)))
        const pieces: Array<Buffer> = []
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length]!
          pieces.push(bytes.subarray(at, at + size))
          at += size
        }
        const heard = readPieces(pieces, 300)
        const without = heard.map((word) => word.startsWith("violation") ? "violation" : word)
        assert.deepStrictEqual(without, readByWs(bytes, 300))
        assert.deepStrictEqual(readPieces([bytes], 300), heard)
      }),
      propertyLimits(2_000)
    )
  })

  it("and any bytes at all are read without a defect", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        const data = Buffer.from(bytes)
        const heard = readPieces([data], 300).map((word) => word.startsWith("violation") ? "violation" : word)
        assert.deepStrictEqual(heard, readByWs(data, 300))
      }),
      propertyLimits(2_000)
    )
  })
})
