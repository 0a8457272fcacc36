/**
 * The client's side of a WebSocket (RFC 6455) once the protocol has changed, for many mostly silent connections:
 * messages are read, and only control frames are sent. The handshake is in `handshake.ts`, the server's frames in
 * `FrameReader.ts`.
 *
 * Data of the connection is decoded in turns (`ReadTurns`). Data that waits for a turn, or arrives during a pause, is kept
 * here: less than one read of the system, 64 KiB. Nothing is read from the system meanwhile.
 */
import type { Socket } from "node:net"
import { readTurns } from "../http/ReadTurns.ts"
import type { ConnectionReader } from "../http/Origin.ts"
import type { TurnReader } from "../http/ReadTurns.ts"
import { FrameReader } from "./FrameReader.ts"
import type { FrameSink, Violation } from "./FrameReader.ts"
import { closeContent, writeControl } from "./frames.ts"
import type { ControlFrame } from "./frames.ts"

export interface SocketListener {
  /** `data` is valid until the call returns. */
  readonly onMessage: (data: Buffer, isBinary: boolean) => void
  readonly onPong: () => void
  /** The server broke the protocol. The end follows. */
  readonly onViolation: (violation: Violation) => void
  /** Called once, and last. Without a close frame the code is 1006, without a code in it 1005. */
  readonly onClose: (code: number, reason: string) => void
}

/** Maximum time for a gateway to answer our close frame before the connection is cut, in milliseconds. */
const closeMillis = 1000

/** Maximum size of answers to pings that the server does not read. Beyond that the connection is cut. */
const unsentBytesMax = 16 * 1024

const noCloseFrame = 1006
const noCloseCode = 1005

/** The code of our close frame to a server that broke the protocol. */
const closeCodes: Partial<Record<Violation, number>> = { "not-utf-8": 1007, "too-large": 1009 }
const protocolError = 1002

const empty = Buffer.alloc(0)

export class ClientSocket implements ConnectionReader, FrameSink, TurnReader {
  /** Set before anything is read. */
  listener!: SocketListener
  readonly #connection: Socket
  readonly #frames: FrameReader
  #kept: Buffer = empty
  #paused = false
  #waits = false
  #closing = false
  #closeCode = noCloseFrame
  #closeReason = ""
  #deadline: NodeJS.Timeout | null = null

  /** `messageBytesMax`: a larger message ends the connection before it is in memory. */
  constructor(connection: Socket, messageBytesMax: number) {
    this.#connection = connection
    this.#frames = new FrameReader(this, messageBytesMax)
  }

  /** Data after the handshake is read in a turn of its own. */
  begin(behind: Buffer): void {
    if (behind.length > 0) this.#keep(behind)
  }

  /** After the message that was just handed over, nothing is handed over before `resume`, unless the connection ends. */
  pause(): void {
    // Data of a connection that is over is handed over all the same.
    if (this.#paused || this.#connection.destroyed) return
    this.#paused = true
    this.#frames.halt()
    this.#connection.pause()
  }

  resume(): void {
    if (!this.#paused) return
    this.#paused = false
    if (this.#waits || this.#connection.destroyed) return
    if (this.#kept.length > 0) this.#wait()
    else this.#connection.resume()
  }

  ping(): void {
    this.#send("ping", empty)
  }

  /** Sends a close frame; the end follows when the server has answered it, or after the time limit. Data is read until then. */
  close(code: number, millis = closeMillis): void {
    this.#close(closeContent(code), millis)
  }

  terminate(): void {
    this.#connection.destroy()
  }

  // Of the connection

  onRead(data: Buffer): void {
    if (this.#frames.over) return
    if (this.#paused || this.#waits || !readTurns.begin()) return this.#keep(data)
    this.#decode(data)
    readTurns.done()
  }

  /** The connection closes by itself; its remaining data is handed over then. */
  onEnd(): void {}

  /** The end of the connection follows, and reports the same: that no close frame came. */
  onError(): void {}

  onConnectionClose(): void {
    if (this.#deadline !== null) clearTimeout(this.#deadline)
    this.#paused = false
    if (this.#kept.length > 0 && !this.#frames.over) this.#decode(this.#kept)
    this.#kept = empty
    this.listener.onClose(this.#closeCode, this.#closeReason)
  }

  onTurn(): void {
    this.#waits = false
    if (this.#paused || this.#connection.destroyed) return
    const data = this.#kept
    this.#kept = empty
    this.#decode(data)
    if (!this.#paused) this.#connection.resume()
  }

  // Of the frames

  onMessage(data: Buffer, isBinary: boolean): void {
    this.listener.onMessage(data, isBinary)
  }

  onPing(data: Buffer): void {
    if (this.#connection.writableLength > unsentBytesMax) this.terminate()
    else this.#send("pong", data)
  }

  onPong(): void {
    this.listener.onPong()
  }

  onCloseFrame(code: number, reason: string): void {
    this.#closeCode = code
    this.#closeReason = reason
    this.#close(closeContent(code === noCloseCode ? null : code))
    this.#connection.end()
  }

  onViolation(violation: Violation): void {
    this.listener.onViolation(violation)
    this.#close(closeContent(closeCodes[violation] ?? protocolError))
    this.#connection.end()
  }

  #decode(data: Buffer): void {
    const end = this.#frames.read(data)
    if (end < data.length) this.#kept = Buffer.from(data.subarray(end))
    // Only its end is awaited, which a connection that is not read would not report.
    if (this.#frames.over && this.#paused) this.#connection.resume()
  }

  #keep(data: Buffer): void {
    this.#kept = this.#kept.length === 0 ? Buffer.from(data) : Buffer.concat([this.#kept, data])
    this.#connection.pause()
    if (!this.#paused) this.#wait()
  }

  #wait(): void {
    if (this.#waits) return
    this.#waits = true
    readTurns.wait(this)
  }

  #send(frame: ControlFrame, content: Buffer): void {
    if (!this.#closing && this.#connection.writable) this.#connection.write(writeControl(frame, content))
  }

  #close(content: Buffer, millis = closeMillis): void {
    this.#send("close", content)
    this.#closing = true
    this.#deadline ??= setTimeout(() => this.terminate(), millis)
  }
}
