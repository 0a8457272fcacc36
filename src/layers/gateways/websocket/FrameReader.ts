/**
 * Parses the frames of a WebSocket server (RFC 6455) from the bytes that arrive, in any pieces. Pure: it passes each
 * frame to its sink at once.
 *
 * A message that is complete within one piece is handed over without a copy: it is valid until the call returns. Only incomplete
 * ones are copied. That is less than the largest message twice, and grows with the received bytes, not with the announced
 * length.
 */
import { isUtf8 } from "node:buffer"

/** How the server broke the protocol, or exceeded the bound. Nothing more is read then. */
export type Violation =
  | "reserved-bits"
  | "unknown-opcode"
  | "control-frame"
  | "masked-frame"
  | "not-utf-8"
  | "close-code"
  | "too-large"

export interface FrameSink {
  /** `data` is valid until the call returns. */
  readonly onMessage: (data: Buffer, isBinary: boolean) => void
  /** As above. */
  readonly onPing: (data: Buffer) => void
  readonly onPong: () => void
  /** The server's last frame; without a code 1005. Nothing more is read. */
  readonly onCloseFrame: (code: number, reason: string) => void
  readonly onViolation: (violation: Violation) => void
}

const empty = Buffer.alloc(0)

const continuation = 0x0
const binary = 0x2
const closing = 0x8
const ping = 0x9
const pong = 0xa

const controlBytesMax = 125

/** The limit of the high word up to which a number holds the length exactly. */
const highWordMax = 2 ** 21

/** Nothing can be read until there are more bytes. */
const incomplete = -1

/** Codes that a close frame may have: 1004 is reserved, and 1005 and 1006 mean that none came. */
const isCloseCode = (code: number): boolean =>
  (code >= 1000 && code <= 1014 && code !== 1004 && code !== 1005 && code !== 1006) || (code >= 3000 && code <= 4999)

export class FrameReader {
  readonly #sink: FrameSink
  readonly #messageBytesMax: number
  /** The beginning of a frame whose head, or for a control frame whose content, is not complete. */
  #begun: Buffer = empty
  /** The current message: its opcode, 0 between two messages; its received parts; its length. */
  #opcode = continuation
  #message: Buffer = empty
  #size = 0
  /** The current frame: number of missing bytes, and whether it ends the message. */
  #left = 0
  #isLast = false
  #halted = false
  #over = false

  constructor(sink: FrameSink, messageBytesMax: number) {
    this.#sink = sink
    this.#messageBytesMax = messageBytesMax
  }

  /** The server has sent its last frame, or has broken the protocol. */
  get over(): boolean {
    return this.#over
  }

  /** From within the sink: this call of `read` reads nothing after the current frame. */
  halt(): void {
    this.#halted = true
  }

  /** Returns how much of it was read: all, unless it was halted. The rest must be passed again. */
  read(piece: Buffer): number {
    this.#halted = false
    const before = this.#begun.length
    const data = before === 0 ? piece : Buffer.concat([this.#begun, piece])
    this.#begun = empty
    let at = 0
    while (at < data.length && !this.#over && !this.#halted) {
      const next = this.#left > 0 ? this.#readContent(data, at) : this.#readFrame(data, at)
      if (next === incomplete) {
        this.#begun = Buffer.from(data.subarray(at))
        return piece.length
      }
      at = next
    }
    return this.#over ? piece.length : at - before
  }

  /** Reads a head, and the content with it if all of it has arrived. Returns where to continue. */
  #readFrame(data: Buffer, at: number): number {
    const available = data.length - at
    if (available < 2) return incomplete
    const first = data[at]!
    const second = data[at + 1]!
    const opcode = first & 0x0f
    // No extension that could use these bits was requested.
    if ((first & 0x70) !== 0) return this.#violate("reserved-bits", at)
    if (opcode >= closing) return this.#readControl(data, at, opcode)
    // A message begins with its opcode and continues without one.
    if (opcode > binary || (opcode === continuation) === (this.#opcode === continuation)) {
      return this.#violate("unknown-opcode", at)
    }
    if (second >= 0x80) return this.#violate("masked-frame", at)
    let from = at + 2
    let length = second
    if (length === 126) {
      if (available < 4) return incomplete
      length = data.readUInt16BE(from)
      from += 2
    } else if (length === 127) {
      if (available < 10) return incomplete
      const high = data.readUInt32BE(from)
      length = high < highWordMax ? high * 2 ** 32 + data.readUInt32BE(from + 4) : Number.POSITIVE_INFINITY
      from += 8
    }
    if (this.#size + length > this.#messageBytesMax) return this.#violate("too-large", at)
    if (opcode !== continuation) this.#opcode = opcode
    this.#isLast = first >= 0x80
    if (this.#isLast && this.#size === 0 && from + length <= data.length) {
      this.#deliver(data.subarray(from, from + length))
      return from + length
    }
    this.#left = length
    if (length === 0) this.#endFrame()
    return from
  }

  #readControl(data: Buffer, at: number, opcode: number): number {
    const length = data[at + 1]!
    if (opcode > pong) return this.#violate("unknown-opcode", at)
    if (length >= 0x80) return this.#violate("masked-frame", at)
    if (data[at]! < 0x80 || length > controlBytesMax) return this.#violate("control-frame", at)
    const from = at + 2
    const end = from + length
    if (end > data.length) return incomplete
    if (opcode === pong) this.#sink.onPong()
    else if (opcode === ping) this.#sink.onPing(data.subarray(from, end))
    else this.#readClose(data.subarray(from, end))
    return end
  }

  #readClose(content: Buffer): void {
    if (content.length === 1) return void this.#violate("control-frame", 0)
    const code = content.length === 0 ? 1005 : content.readUInt16BE(0)
    if (content.length > 0 && !isCloseCode(code)) return void this.#violate("close-code", 0)
    const reason = content.subarray(2)
    if (!isUtf8(reason)) return void this.#violate("not-utf-8", 0)
    this.#end()
    this.#sink.onCloseFrame(code, reason.toString("utf8"))
  }

  #readContent(data: Buffer, at: number): number {
    const end = Math.min(data.length, at + this.#left)
    this.#keep(data, at, end)
    this.#left -= end - at
    if (this.#left === 0) this.#endFrame()
    return end
  }

  #keep(data: Buffer, from: number, end: number): void {
    const needed = this.#size + end - from
    if (needed > this.#message.length) {
      const most = this.#isLast ? this.#size + this.#left : this.#messageBytesMax
      const grown = Buffer.allocUnsafeSlow(Math.max(needed, Math.min(most, 2 * needed)))
      this.#message.copy(grown, 0, 0, this.#size)
      this.#message = grown
    }
    data.copy(this.#message, this.#size, from, end)
    this.#size = needed
  }

  #endFrame(): void {
    if (this.#isLast) this.#deliver(this.#message.subarray(0, this.#size))
  }

  #deliver(content: Buffer): void {
    const isBinary = this.#opcode === binary
    this.#forget()
    if (!isBinary && !isUtf8(content)) this.#violate("not-utf-8", 0)
    else this.#sink.onMessage(content, isBinary)
  }

  #violate(violation: Violation, at: number): number {
    this.#end()
    this.#sink.onViolation(violation)
    return at
  }

  #end(): void {
    this.#over = true
    this.#forget()
  }

  #forget(): void {
    this.#opcode = continuation
    this.#message = empty
    this.#size = 0
  }
}
