/**
 * One device's socket, in any dialect that has one per device: opens it, hands over the events of each frame, and reports
 * once why it ended. The dialect defines the socket's address, and the meaning of its frames and close codes.
 *
 * Order and loss: frames are decoded and handed over in the socket's own callback, so frames that were read before a close are
 * handed over before `onEnd`. After `end` nothing is handed over.
 *
 * Memory: a device costs this object and its socket, whose listener this object is; an open session has no timers, streams
 * or closures of its own.
 */
import { Effect, Scope } from "effect"
import type { Failure } from "../../domain/DeviceState.ts"
import type { DeviceId, GatewayName } from "../../domain/Ids.ts"
import { SessionRefused } from "../../services/GatewayParts.ts"
import type { OpenSession, Session, SessionEvent, SessionListener, SessionTarget } from "../../services/GatewayParts.ts"
import { type PingWheel, pingWheel, type WheelMember } from "./PingWheel.ts"
import { rejectBinary, rejectDefective, rejectOversized, rejectUnread } from "./rejects.ts"
import { chooseCloseCode, ofViolation, pingTimeout, type Refusal, scopeClosed } from "./socketFailures.ts"
import type { ClientSocket, SocketListener } from "./websocket/ClientSocket.ts"
import type { Violation } from "./websocket/FrameReader.ts"
import { type HandshakeOptions, makeOrigin, type Opening, openWebSocket } from "./websocket/handshake.ts"
import type { SocketAddress } from "./websocket/handshake.ts"

/** A dialect's description of its sockets. */
export interface SocketDialect {
  /** `ws://` or `wss://`: the host and the port of all sockets. */
  readonly url: string
  /** The path of the device's socket and the headers of the upgrade. Either may hold secrets, and is never shown. */
  readonly address: (target: SessionTarget) => SocketAddress
  /** With `mayWait` the result may be that the gateway has to be asked first. */
  readonly decode: (
    text: string,
    target: SessionTarget,
    now: number,
    mayWait: boolean
  ) => ReadonlyArray<SessionEvent> | NotYet
  /** A close frame of the gateway; 1006 where the connection ended without one. */
  readonly ofClose: (code: number, reason: string) => Failure
  /**
   * The sign that the gateway has accepted the session. `pong`: the gateway accepts every upgrade and closes the socket
   * at once where it refuses us, so only an answer to our first ping, or a frame, is a sign.
   */
  readonly acceptedBy: "upgrade" | "pong"
}

/**
 * A frame that should be decoded after a request to the gateway. `ask` calls back once, always soon; the
 * frame is then decoded finally. Until then no frame of the session is read or handed over.
 */
export class NotYet {
  readonly ask: (answered: () => void) => void

  constructor(ask: NotYet["ask"]) {
    this.ask = ask
  }
}

/** Sizes and times that tests set. */
export interface SocketLimits {
  /** A text frame above this size is recorded as rejected, cut, and the session continues. */
  readonly frameBytesMax?: number | undefined
  /** A connection that sends a frame above this size is ended before the frame is in memory. */
  readonly frameBytesHardMax?: number | undefined
  /** Time limit of the whole opening. */
  readonly handshakeMillis?: number | undefined
  /** The process's own wheel by default; tests use a faster one. */
  readonly wheel?: PingWheel | undefined
}

/** Maximum time that all frames of a closed socket together may wait for answers: more than one answer takes. */
const closedWaitMillis = 4000

/** Frames that the gateway sent before it answers a close frame are read first, which may be a lot. */
const finishMillis = 5000

/** The code of a connection that ended without a close frame of the gateway. */
const noCloseFrame = 1006

/** The largest frames seen carry a base64 thumbnail of some 100 KiB. */
const frameBytesDefault = 1024 * 1024
/** WhatsApp's own limit for media in line. */
const frameBytesHardDefault = 16 * 1024 * 1024
/** Connecting is rate limited, so a healthy gateway answers far sooner. */
const handshakeMillisDefault = 10_000

interface SocketOptions extends SocketDialect {
  readonly frameBytesMax: number
  readonly handshake: HandshakeOptions
  readonly wheel: PingWheel
}

interface HeldFrame {
  readonly data: Buffer
  readonly isBinary: boolean
}

class SocketSession implements Session, SocketListener, WheelMember {
  wheelSlot = -1
  wheelIndex = -1
  misses = 0
  paused = false
  /** With the account JID if it has been received; a later answer of the gateway may set it. */
  target: SessionTarget
  readonly #listener: SessionListener
  readonly #options: SocketOptions
  readonly #socket: ClientSocket
  /** The frame that waits for an answer of the gateway, and the ones read after it; null: none waits. */
  #held: Array<HeldFrame> | null = null
  /** Set until the gateway has accepted the session. */
  #opening: Opening | null
  #ended = false
  #failure: Failure | null = null
  /** The socket has closed, and earlier frames still wait. */
  #closed: Failure | null = null
  /** The session is to end in order: the callback to notify, with whether the gateway has answered the close frame. */
  #finishing: ((complete: boolean) => void) | null = null
  #answered = false

  constructor(
    socket: ClientSocket,
    target: SessionTarget,
    listener: SessionListener,
    options: SocketOptions,
    opening: Opening | null
  ) {
    this.#socket = socket
    this.#opening = opening
    this.target = target
    this.#listener = listener
    this.#options = options
    socket.listener = this
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
    if (this.#held === null) this.#socket.resume()
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

  finish(done: (complete: boolean) => void): void {
    if (this.#ended || this.#finishing !== null) return done(false)
    this.#finishing = done
    this.paused = false
    // A paused socket would never read the answer. Waiting frames are decoded first, then the ones after them.
    if (this.#held === null) this.#socket.resume()
    this.#socket.close(chooseCloseCode(scopeClosed), finishMillis)
  }

  /** The session was not accepted in time, or is no longer wanted: it reports nothing. The socket is closed elsewhere. */
  abandon(): void {
    this.#ended = true
    this.#options.wheel.remove(this)
  }

  setAccount(jid: string): void {
    if (this.target.jid !== jid) this.target = { ...this.target, jid }
  }

  sendPing(): void {
    this.#socket.ping()
  }

  onDead(): void {
    const { missesMax, turn } = this.#options.wheel.options
    this.end(pingTimeout(missesMax * turn))
  }

  /** A pong or a frame. */
  #onSign(): void {
    this.misses = 0
    const opening = this.#opening
    if (opening === null) return
    this.#opening = null
    opening.accepted()
  }

  onPong(): void {
    this.#onSign()
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#ended) return
    this.#onSign()
    if (this.#held === null) this.#read({ data, isBinary }, true)
    else this.#held.push({ data: Buffer.from(data), isBinary })
  }

  #read(frame: HeldFrame, mayWait: boolean): void {
    const { data, isBinary } = frame
    const now = Date.now()
    if (isBinary) {
      this.#listener.onEvent(rejectBinary(data, this.target, now))
      return
    }
    if (data.length > this.#options.frameBytesMax) {
      this.#listener.onEvent(rejectOversized(data, this.target, now, this.#options.frameBytesMax))
      return
    }
    const events = this.#decode(data.toString("utf8"), now, mayWait)
    if (events instanceof NotYet) {
      this.#held = [{ data: Buffer.from(data), isBinary }]
      this.#socket.pause()
      events.ask(() => this.#release(true))
      return
    }
    for (let index = 0; index < events.length; index++) {
      const event = events[index]!
      if (event._tag === "UpstreamConnected" && event.jid !== null) this.setAccount(event.jid)
      this.#listener.onEvent(event)
      if (this.#ended) return
    }
  }

  /** A defect in the decoder costs only this frame: an exception in a socket's callback would end the process. */
  #decode(text: string, now: number, mayWait: boolean): ReadonlyArray<SessionEvent> | NotYet {
    try {
      return this.#options.decode(text, this.target, now, mayWait)
    } catch (defect) {
      return [rejectDefective(text, this.target, now, defect)]
    }
  }

  /** In order: the first frame is decoded finally, and a later one may wait in its turn. */
  #release(mayWait: boolean): void {
    const held = this.#held
    if (held === null) return
    this.#held = null
    this.misses = 0
    for (let index = 0; index < held.length && !this.#ended; index++) {
      this.#read(held[index]!, mayWait && index > 0)
      const again = this.#held as Array<HeldFrame> | null
      if (again === null) continue
      again.push(...held.slice(index + 1))
      return
    }
    if (this.#closed !== null) this.#endClosed(this.#closed)
    else if (!this.paused && !this.#ended) this.#socket.resume()
  }

  onViolation(violation: Violation): void {
    const failure = ofViolation(violation)
    this.#failure ??= failure
    if (failure.code === "frame-too-large" && !this.#ended) {
      this.#listener.onEvent(rejectUnread(this.#options.handshake.frameBytesHardMax, this.target, Date.now()))
    }
  }

  onClose(code: number, reason: string): void {
    const failure = this.#failure ?? this.#options.ofClose(code, reason)
    this.#answered = code !== noCloseFrame && this.#failure === null
    // Frames from before the close are handed over before the end, and decoded as on an open socket.
    if (this.#held === null || this.#ended) return this.#endClosed(failure)
    this.#closed = failure
    this.#options.wheel.remove(this)
    setTimeout(() => {
      this.#release(false)
      this.#endClosed(failure)
    }, closedWaitMillis).unref()
  }

  #endClosed(failure: Failure): void {
    if (!this.#ended) this.#finish(failure, false)
  }

  #finish(failure: Failure, later: boolean): void {
    this.#ended = true
    this.#options.wheel.remove(this)
    const finishing = this.#finishing
    this.#finishing = null
    if (finishing !== null) return finishing(!later && this.#answered)
    // A session that was never accepted could not be opened: it reports no end.
    if (this.#opening !== null) this.#opening.refused(failure)
    else if (later) queueMicrotask(() => this.#listener.onEnd(failure))
    else this.#listener.onEnd(failure)
  }
}

/**
 * Opens the socket and calls one of the two callbacks once. Returns a function that cancels, after which neither is
 * called.
 */
const connect = (
  options: SocketOptions,
  target: SessionTarget,
  listener: SessionListener,
  onOpen: (session: SocketSession) => void,
  onRefused: (refusal: Refusal) => void
): () => void => {
  const { acceptedBy, handshake } = options
  const address = options.address(target)
  const begin = (socket: ClientSocket, opening: Opening | null): SocketSession =>
    new SocketSession(socket, target, listener, options, opening)
  const opened = (socket: ClientSocket) => onOpen(begin(socket, null))
  if (acceptedBy === "upgrade") return openWebSocket(handshake, address, opened, onRefused)
  let session: SocketSession | null = null
  const refused = (refusal: Refusal) => {
    session?.abandon()
    onRefused(refusal)
  }
  const accepted = () => onOpen(session!)
  const cancel = openWebSocket(handshake, address, accepted, refused, (socket, opening) => {
    session = begin(socket, opening)
    session.sendPing()
  })
  return () => {
    session?.abandon()
    cancel()
  }
}

/** The sockets of one gateway. */
export interface DeviceSockets {
  readonly open: OpenSession
  /** Sets the account of a device, as the gateway returned it: frames may name it instead of the slot. */
  readonly setAccount: (device: DeviceId, jid: string) => void
}

export const make = (name: GatewayName, dialect: SocketDialect, limits: SocketLimits): DeviceSockets => {
  const options: SocketOptions = {
    ...dialect,
    frameBytesMax: limits.frameBytesMax ?? frameBytesDefault,
    handshake: {
      origin: makeOrigin(dialect.url),
      millis: limits.handshakeMillis ?? handshakeMillisDefault,
      frameBytesHardMax: limits.frameBytesHardMax ?? frameBytesHardDefault
    },
    wheel: limits.wheel ?? pingWheel
  }
  const sessions = new Map<DeviceId, SocketSession>()

  const open: OpenSession = (target, listener) =>
    Effect.flatMap(Effect.scope, (scope) => {
      let close: () => void = noop
      const connected = Effect.callback<SocketSession, SessionRefused>((resume) => {
        close = connect(options, target, listener, (session) => {
          sessions.set(target.deviceId, session)
          close = () => {
            if (sessions.get(target.deviceId) === session) sessions.delete(target.deviceId)
            session.end(scopeClosed)
          }
          resume(Effect.succeed(session))
        }, ({ failure, retryAfter }) => {
          const message = `Gateway '${name}' did not open a session: ${failure.detail}`
          resume(Effect.fail(new SessionRefused({ message, class: failure.class, code: failure.code, retryAfter })))
        })
        return Effect.sync(() => close())
      })
      // Registered first, so that no interruption can fall between an open socket and its release.
      return Effect.andThen(Scope.addFinalizer(scope, Effect.sync(() => close())), connected)
    })

  return { open, setAccount: (device, jid) => sessions.get(device)?.setAccount(jid) }
}

const noop = () => {}
