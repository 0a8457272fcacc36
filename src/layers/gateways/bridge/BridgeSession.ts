/**
 * One device's socket in the `bridge` dialect: opens it, hands over what each frame means, and reports once why it
 * ended.
 *
 * Order and loss: frames are decoded and handed over in the socket's own callback, so what `ws` has read before a
 * close is handed over before `onEnd`. After `end` nothing is handed over any more.
 *
 * Memory: a device costs this object and its `ws` socket. The callbacks are shared functions that find their session
 * on the socket; an open session has no timers, streams or closures of its own.
 */
import { type ClientOptions, WebSocket } from "ws"
import type { ClientRequest, IncomingMessage } from "node:http"
import type { Failure } from "../../../domain/DeviceState.ts"
import type { SessionEvent, Session, SessionListener, SessionTarget } from "../../../services/GatewayParts.ts"
import { readEnvelope } from "../envelope.ts"
import { rejectBinary, rejectDefective, rejectOversized, rejectUnread } from "../rejects.ts"
import { decodeFrame } from "./BridgeDecoder.ts"
import {
  chooseCloseCode,
  dependsOnBody,
  handshakeTimeout,
  ofClose,
  ofConnectError,
  ofSocketError,
  ofStatus,
  pingTimeout,
  type Refusal
} from "./failures.ts"
import type { PingWheel, WheelMember } from "../PingWheel.ts"

export interface SessionOptions {
  /** Of the socket, without the query. */
  readonly url: string
  /** The whole `Authorization` header, or null where the gateway is open. */
  readonly authorization: string | null
  /** A text frame above this is recorded as rejected, cut, and the session goes on. */
  readonly frameBytesMax: number
  /** `ws` ends a connection that sends a frame above this, before the frame is in memory. */
  readonly frameBytesHardMax: number
  readonly handshakeMillis: number
  readonly wheel: PingWheel
}

/** How long a gateway may take to answer our close frame before the connection is cut. */
const closeMillis = 1000

/** A refusal is some hundred bytes; what is longer is not in the gateway's envelope. */
const refusalBytesMax = 16 * 1024

/** The socket, with a reference to the session it belongs to. */
class BridgeSocket extends WebSocket {
  session: BridgeSession | undefined
}

export class BridgeSession implements Session, WheelMember {
  wheelSlot = -1
  wheelIndex = -1
  misses = 0
  paused = false
  /** With the account JID as far as it is known; a later answer of the gateway may set it. */
  target: SessionTarget
  readonly #listener: SessionListener
  readonly #options: SessionOptions
  readonly #socket: BridgeSocket
  #ended = false
  #failure: Failure | null = null

  constructor(socket: BridgeSocket, target: SessionTarget, listener: SessionListener, options: SessionOptions) {
    this.#socket = socket
    this.target = target
    this.#listener = listener
    this.#options = options
    socket.session = this
    socket.on("message", onMessage)
    socket.on("pong", onPong)
    socket.on("error", onError)
    socket.on("close", onClose)
    options.wheel.add(this)
  }

  pause(): boolean {
    if (!this.#ended && !this.paused) {
      this.paused = true
      this.#socket.pause()
    }
    return true
  }

  resume(): void {
    if (this.#ended || !this.paused) return
    this.paused = false
    this.misses = 0
    this.#socket.resume()
  }

  /**
   * `onEnd` follows in a microtask, so that a listener may end the session from within `onEvent`. The socket's own
   * close continues in the background: it is cut if the gateway does not answer the close frame.
   */
  end(failure: Failure): void {
    if (this.#ended) return
    this.#finish(failure, true)
    if (failure.code === "ping-timeout") this.#socket.terminate()
    else {
      // A paused socket would never read the answer to its close frame.
      this.#socket.resume()
      this.#socket.close(chooseCloseCode(failure))
    }
  }

  learnAccount(jid: string): void {
    if (this.target.jid !== jid) this.target = { ...this.target, jid }
  }

  sendPing(): void {
    this.#socket.ping()
  }

  onDead(): void {
    const { missesMax, turn } = this.#options.wheel.options
    this.end(pingTimeout(missesMax * turn))
  }

  onFrame(data: Buffer, isBinary: boolean): void {
    if (this.#ended) return
    this.misses = 0
    const now = Date.now()
    if (isBinary) {
      this.#listener.onEvent(rejectBinary(data, this.target, now))
      return
    }
    if (data.length > this.#options.frameBytesMax) {
      this.#listener.onEvent(rejectOversized(data, this.target, now, this.#options.frameBytesMax))
      return
    }
    const events = this.#decode(data.toString("utf8"), now)
    for (let index = 0; index < events.length; index++) {
      const event = events[index]!
      if (event._tag === "UpstreamConnected" && event.jid !== null) this.learnAccount(event.jid)
      this.#listener.onEvent(event)
      if (this.#ended) return
    }
  }

  /** A defect in the decoder costs this frame only: thrown from a socket's callback it would end the process. */
  #decode(text: string, now: number): ReadonlyArray<SessionEvent> {
    try {
      return decodeFrame(text, this.target, now)
    } catch (defect) {
      return [rejectDefective(text, this.target, now, defect)]
    }
  }

  onSocketError(error: Error): void {
    const failure = ofSocketError(error)
    this.#failure ??= failure
    if (failure.code === "frame-too-large" && !this.#ended) {
      this.#listener.onEvent(rejectUnread(this.#options.frameBytesHardMax, this.target, Date.now()))
    }
  }

  onSocketClose(code: number): void {
    if (!this.#ended) this.#finish(this.#failure ?? ofClose(code), false)
  }

  #finish(failure: Failure, later: boolean): void {
    this.#ended = true
    this.#options.wheel.remove(this)
    if (later) queueMicrotask(() => this.#listener.onEnd(failure))
    else this.#listener.onEnd(failure)
  }
}

function onMessage(this: WebSocket, data: unknown, isBinary: boolean): void {
  // With the default binaryType the data of a complete frame is one Buffer.
  ;(this as BridgeSocket).session!.onFrame(data as Buffer, isBinary)
}

function onPong(this: WebSocket): void {
  ;(this as BridgeSocket).session!.misses = 0
}

function onError(this: WebSocket, error: Error): void {
  ;(this as BridgeSocket).session!.onSocketError(error)
}

function onClose(this: WebSocket, code: number): void {
  ;(this as BridgeSocket).session!.onSocketClose(code)
}

/**
 * Opens the socket and calls one of the two callbacks once. Returns a function that cancels, after which neither is
 * called. However it fails, the connection is closed: no handshake outlives its deadline.
 */
export const connect = (
  options: SessionOptions,
  target: SessionTarget,
  listener: SessionListener,
  onOpen: (session: BridgeSession) => void,
  onRefused: (refusal: Refusal) => void
): () => void => {
  const headers: Record<string, string> = { "X-Device-Id": target.upstreamId }
  if (options.authorization !== null) headers.Authorization = options.authorization
  const socketOptions: ClientOptions & { readonly closeTimeout: number } = {
    headers,
    // Negotiated compression costs a zlib context per socket, and frames are small.
    perMessageDeflate: false,
    maxPayload: options.frameBytesHardMax,
    closeTimeout: closeMillis
  }
  const socket = new BridgeSocket(`${options.url}?device_id=${target.upstreamId}`, socketOptions)
  let settled = false
  const settle = (): boolean => {
    if (settled) return false
    settled = true
    clearTimeout(deadline)
    socket.removeListener("unexpected-response", onResponse)
    socket.removeListener("open", onOpened)
    return true
  }
  const refuse = (refusal: Refusal) => {
    if (settle()) {
      socket.terminate()
      onRefused(refusal)
    }
  }
  const onOpened = () => {
    if (!settle()) return
    socket.removeListener("error", onFailed)
    onOpen(new BridgeSession(socket, target, listener, options))
  }
  const onFailed = (error: Error) => refuse({ failure: ofConnectError(error), retryAfter: null })
  const onResponse = (_request: ClientRequest, response: IncomingMessage) => {
    const status = response.statusCode ?? 0
    const answer = (text: string | null) => {
      response.destroy()
      refuse(ofStatus(status, response.headers, readEnvelope(text), Date.now()))
    }
    if (dependsOnBody(status)) readRefusal(response, answer)
    else answer(null)
  }
  // For the whole handshake rather than an idle time: a gateway that sends byte by byte gets no more time.
  const deadline = setTimeout(() => {
    refuse({ failure: handshakeTimeout(options.handshakeMillis), retryAfter: null })
  }, options.handshakeMillis)
  socket.on("open", onOpened)
  socket.on("unexpected-response", onResponse)
  // Stays after a refusal: aborting a handshake emits one more error, which must find a listener.
  socket.on("error", onFailed)
  return () => {
    if (settle()) socket.terminate()
  }
}

/** The body of a refusal, or null where it breaks off or is too long. `done` may be called again: the first one counts. */
const readRefusal = (response: IncomingMessage, done: (text: string | null) => void): void => {
  const chunks: Array<Buffer> = []
  let size = 0
  response.on("data", (chunk: Buffer) => {
    size += chunk.length
    if (size > refusalBytesMax) done(null)
    else chunks.push(chunk)
  })
  response.on("end", () => done(Buffer.concat(chunks).toString("utf8")))
  response.on("error", () => done(null))
}
