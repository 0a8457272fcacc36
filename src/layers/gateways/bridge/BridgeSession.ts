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
import { WebSocket } from "ws"
import type { Failure } from "../../../domain/DeviceState.ts"
import type { SessionEvent, Session, SessionListener, SessionTarget } from "../../../services/GatewayParts.ts"
import { awaitHandshake, makeSocketOptions } from "../handshake.ts"
import type { PingWheel, WheelMember } from "../PingWheel.ts"
import { rejectBinary, rejectDefective, rejectOversized, rejectUnread } from "../rejects.ts"
import { chooseCloseCode, ofClose, ofSocketError, pingTimeout, type Refusal } from "../socketFailures.ts"
import { decodeFrame } from "./BridgeDecoder.ts"

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
 * called.
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
  const socket = new BridgeSocket(
    `${options.url}?device_id=${target.upstreamId}`,
    makeSocketOptions(headers, options.frameBytesHardMax)
  )
  const { handshakeMillis } = options
  return awaitHandshake(
    socket,
    handshakeMillis,
    () => onOpen(new BridgeSession(socket, target, listener, options)),
    onRefused
  )
}
