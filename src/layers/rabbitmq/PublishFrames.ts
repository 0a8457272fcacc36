/**
 * Events as AMQP 0-9-1 frames, many in one buffer. amqplib encodes and writes every message by itself, which is most of
 * what a publish costs the process; here the frames of a batch become one write, and the properties and body of an event
 * that goes to two routes are encoded once.
 *
 * A message is a method frame (where it goes), a header frame (its properties) and one or more body frames.
 */

export interface Route {
  readonly exchange: string
  readonly routingKey: string
  readonly mandatory: boolean
}

export interface MessageProperties {
  readonly messageId: string
  readonly type: string
  /** Seconds since 1970. */
  readonly timestamp: number
  readonly headers: ReadonlyArray<readonly [name: string, value: string]>
}

const methodFrame = 1
const headerFrame = 2
const bodyFrame = 3
const frameEnd = 0xce
/** Type, channel, size and the end mark. */
const frameOverhead = 8

const basicClass = 60
const publishMethod = 40
const mandatoryBit = 1
const persistent = 2

/** The properties that follow, one bit each, in their order. */
const propertyFlags = {
  contentType: 1 << 15,
  headers: 1 << 13,
  deliveryMode: 1 << 12,
  messageId: 1 << 7,
  timestamp: 1 << 6,
  type: 1 << 5
}
const allFlags = Object.values(propertyFlags).reduce((sum, flag) => sum | flag, 0)

const contentType = "application/json"

/** Two method frames and a header frame are below this: every short string in them has at most 255 bytes. */
const envelopeMax = 8 * 1024

const initialBytes = 64 * 1024

export class PublishFrames {
  readonly #channel: number
  readonly #frameMax: number
  #buffer = Buffer.allocUnsafe(initialBytes)
  #at = 0

  /** `frameMax` as negotiated with the broker; 0 means no limit. */
  constructor(channel: number, frameMax: number) {
    this.#channel = channel
    this.#frameMax = frameMax === 0 ? Infinity : frameMax
  }

  /** Adds one message for each route. */
  add(routes: ReadonlyArray<Route>, properties: MessageProperties, body: string): void {
    const bodyBytes = Buffer.byteLength(body)
    const frames = Math.ceil(bodyBytes / (this.#frameMax - frameOverhead)) || 1
    this.#reserve(routes.length * (envelopeMax + bodyBytes + frames * frameOverhead))
    let content: { readonly start: number; readonly end: number } | null = null
    for (const route of routes) {
      this.#method(route)
      if (content === null) {
        const start = this.#at
        this.#header(properties, bodyBytes)
        this.#body(body, bodyBytes)
        content = { start, end: this.#at }
      } else {
        this.#buffer.copyWithin(this.#at, content.start, content.end)
        this.#at += content.end - content.start
      }
    }
  }

  /** Everything added since the last call. The caller owns the buffer. */
  take(): Buffer {
    const taken = Buffer.from(this.#buffer.subarray(0, this.#at))
    this.#at = 0
    return taken
  }

  #reserve(bytes: number): void {
    const needed = this.#at + bytes
    if (needed <= this.#buffer.length) return
    const larger = Buffer.allocUnsafe(Math.max(needed, this.#buffer.length * 2))
    this.#buffer.copy(larger, 0, 0, this.#at)
    this.#buffer = larger
  }

  #method({ exchange, mandatory, routingKey }: Route): void {
    const size = this.#open(methodFrame)
    this.#uint16(basicClass)
    this.#uint16(publishMethod)
    this.#uint16(0)
    this.#shortString(exchange)
    this.#shortString(routingKey)
    this.#uint8(mandatory ? mandatoryBit : 0)
    this.#close(size)
  }

  #header({ headers, messageId, timestamp, type }: MessageProperties, bodyBytes: number): void {
    const size = this.#open(headerFrame)
    this.#uint16(basicClass)
    this.#uint16(0)
    this.#uint64(bodyBytes)
    this.#uint16(allFlags)
    this.#shortString(contentType)
    const tableAt = this.#at
    this.#at += 4
    for (const [name, value] of headers) {
      this.#shortString(name)
      this.#longString(value)
    }
    this.#buffer.writeUInt32BE(this.#at - tableAt - 4, tableAt)
    this.#uint8(persistent)
    this.#shortString(messageId)
    this.#uint64(timestamp)
    this.#shortString(type)
    this.#close(size)
  }

  #body(body: string, bytes: number): void {
    const most = this.#frameMax - frameOverhead
    if (bytes <= most) {
      if (bytes === 0) return
      const size = this.#open(bodyFrame)
      this.#at += this.#buffer.write(body, this.#at)
      return this.#close(size)
    }
    const whole = Buffer.from(body)
    for (let start = 0; start < bytes; start += most) {
      const size = this.#open(bodyFrame)
      this.#at += whole.copy(this.#buffer, this.#at, start, Math.min(start + most, bytes))
      this.#close(size)
    }
  }

  /** Returns where the frame's size belongs. */
  #open(type: number): number {
    this.#uint8(type)
    this.#uint16(this.#channel)
    const size = this.#at
    this.#at += 4
    return size
  }

  #close(size: number): void {
    this.#buffer.writeUInt32BE(this.#at - size - 4, size)
    this.#uint8(frameEnd)
  }

  #uint8(value: number): void {
    this.#at = this.#buffer.writeUInt8(value, this.#at)
  }

  #uint16(value: number): void {
    this.#at = this.#buffer.writeUInt16BE(value, this.#at)
  }

  #uint64(value: number): void {
    this.#at = this.#buffer.writeUInt32BE(Math.floor(value / 2 ** 32), this.#at)
    this.#at = this.#buffer.writeUInt32BE(value % 2 ** 32, this.#at)
  }

  #shortString(value: string): void {
    const written = this.#buffer.write(value, this.#at + 1)
    this.#buffer.writeUInt8(written, this.#at)
    this.#at += 1 + written
  }

  /** A table value: its type and its bytes. */
  #longString(value: string): void {
    this.#uint8(0x53)
    const written = this.#buffer.write(value, this.#at + 4)
    this.#buffer.writeUInt32BE(written, this.#at)
    this.#at += 4 + written
  }
}
