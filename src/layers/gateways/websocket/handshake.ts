/**
 * The opening of a WebSocket to a gateway: one deadline for all of it, and the gateway's refusal as a failure class.
 *
 * The handshake is done over a plain or TLS connection, which continues as a WebSocket once the protocol has changed. Through
 * Node's HTTP client a handshake costs twice the work, which matters when a whole fleet reconnects.
 */
import { hash } from "node:crypto"
import type { Socket } from "node:net"
import type { Failure } from "../../../domain/DeviceState.ts"
import { readEnvelope } from "../envelope.ts"
import { Origin, readBy, renderHeaders } from "../http/Origin.ts"
import type { ConnectionReader } from "../http/Origin.ts"
import { ReplyReader } from "../http/ReplyReader.ts"
import { dependsOnBody, handshakeTimeout, notAWebSocket, ofConnectError, ofStatus } from "../socketFailures.ts"
import type { Refusal } from "../socketFailures.ts"
import { ClientSocket } from "./ClientSocket.ts"
import { drawBytes } from "./frames.ts"

/** A refusal is some hundred bytes; a longer one is not in the gateway's envelope. */
const refusalBytesMax = 16 * 1024

/** RFC 6455: proves that the other side has read the key as a WebSocket server. */
const acceptSuffix = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

/** RFC 6455. A key must not be predictable, but it is no secret. */
const keyBytes = 16

/** The common options of one gateway's sockets. */
export interface HandshakeOptions {
  readonly origin: Origin
  /** Time limit of the whole opening. */
  readonly millis: number
  readonly frameBytesHardMax: number
}

/** The path of one socket, and the headers of its upgrade. Either may hold secrets, and is never shown. */
export interface SocketAddress {
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
}

/** An upgrade that is done, while the gateway has not accepted the connection yet. The first call counts. */
export interface Opening {
  readonly accepted: () => void
  readonly refused: (failure: Failure) => void
}

/** `ws://` or `wss://`. */
export const makeOrigin = (url: string): Origin => new Origin(new URL(url))

/**
 * Opens a connection, and calls one of the first two callbacks once. Returns a function that cancels, after which neither is
 * called. However it fails, the connection is closed: no handshake outlives its deadline. `onOpen` sets the socket's
 * listener, which misses no frame.
 *
 * Some gateways refuse a client only after the upgrade. With `onUpgrade` the caller reports the upgrade's result, and
 * the deadline holds until then; the listener is set there.
 */
export const openWebSocket = (
  options: HandshakeOptions,
  address: SocketAddress,
  onOpen: (socket: ClientSocket) => void,
  onRefused: (refusal: Refusal) => void,
  onUpgrade?: (socket: ClientSocket, opening: Opening) => void
): () => void => {
  const handshake = new Handshake(options, address, { onOpen, onRefused, onUpgrade })
  return () => handshake.cancel()
}

interface Outcomes {
  readonly onOpen: (socket: ClientSocket) => void
  readonly onRefused: (refusal: Refusal) => void
  readonly onUpgrade: ((socket: ClientSocket, opening: Opening) => void) | undefined
}

/** An object and no closures: a reconnecting fleet creates thousands. */
class Handshake implements ConnectionReader, Opening {
  readonly #options: HandshakeOptions
  readonly #outcomes: Outcomes
  readonly #key = drawBytes(keyBytes).toString("base64")
  readonly #reader = new ReplyReader(refusalBytesMax)
  readonly #connection: Socket
  readonly #deadline: NodeJS.Timeout
  #socket: ClientSocket | null = null
  #settled = false

  constructor(options: HandshakeOptions, { headers, url }: SocketAddress, outcomes: Outcomes) {
    this.#options = options
    this.#outcomes = outcomes
    const { millis, origin } = options
    const head = origin.writeHead(
      "GET",
      new URL(url),
      `${
        renderHeaders(headers)
      }Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${this.#key}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n`
    )
    this.#connection = origin.connectFor(this)
    // For the whole handshake rather than an idle time: a gateway that sends byte by byte gets no more time.
    this.#deadline = setTimeout(() => this.refused(handshakeTimeout(millis)), millis)
    this.#connection.write(head, "latin1")
  }

  cancel(): void {
    if (this.#settle()) this.#connection.destroy()
  }

  accepted(): void {
    if (this.#settle()) this.#outcomes.onOpen(this.#socket!)
  }

  refused(failure: Failure): void {
    this.#refuse({ failure, retryAfter: null })
  }

  onRead(data: Buffer): void {
    if (this.#settled) return
    // The reader may retain data, and this buffer is valid only until this returns.
    const reader = this.#reader
    reader.read(Buffer.from(data))
    switch (reader.state) {
      case "upgraded":
        return this.#acceptsKey() ? this.#upgrade() : this.refused(notAWebSocket)
      case "malformed":
        return this.refused(notAWebSocket)
      case "complete":
        return this.#refuseByStatus(reader.readText())
      case "body":
        if (!dependsOnBody(reader.status)) this.#refuseByStatus(null)
        return
      case "head":
    }
  }

  /** A refusal whose body is incomplete is judged by its status. */
  onEnd(): void {
    const reader = this.#reader
    reader.end()
    if (reader.state === "complete") this.#refuseByStatus(reader.readText())
    else if (reader.state === "body") this.#refuseByStatus(null)
    else this.refused(ofConnectError({ code: "ECONNRESET" }))
  }

  onError(error: NodeJS.ErrnoException): void {
    if (this.#reader.state === "body") this.#refuseByStatus(null)
    else this.refused(ofConnectError(error))
  }

  /** An end or an error came first, or this side has closed it. */
  onConnectionClose(): void {}

  #upgrade(): void {
    const socket = new ClientSocket(this.#connection, this.#options.frameBytesHardMax)
    this.#socket = socket
    readBy(this.#connection, socket)
    if (this.#outcomes.onUpgrade === undefined) this.accepted()
    else this.#outcomes.onUpgrade(socket, this)
    socket.begin(this.#reader.rest)
  }

  #refuseByStatus(text: string | null): void {
    const { headers, status } = this.#reader
    this.#refuse(ofStatus(status, headers, readEnvelope(text), Date.now()))
  }

  #refuse(refusal: Refusal): void {
    if (!this.#settle()) return
    this.#connection.destroy()
    this.#outcomes.onRefused(refusal)
  }

  #settle(): boolean {
    if (this.#settled) return false
    this.#settled = true
    clearTimeout(this.#deadline)
    return true
  }

  /** No extension or protocol was requested: a server that names one has misread the request. */
  #acceptsKey(): boolean {
    const { headers } = this.#reader
    return headers["upgrade"]?.toLowerCase() === "websocket" &&
      headers["sec-websocket-accept"] === hash("sha1", this.#key + acceptSuffix, "base64") &&
      headers["sec-websocket-extensions"] === undefined &&
      headers["sec-websocket-protocol"] === undefined
  }
}
