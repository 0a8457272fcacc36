/**
 * GOWA's socket: one for all slots of the gateway, which writes every frame to every client. Its hub waits for a client
 * that does not read, and blocks every slot: frames are read as they arrive and the socket is never paused.
 *
 * Only protocol pings are sent: GOWA drops a connection on any text that is not a JSON object.
 */
import type { Failure } from "../../../domain/DeviceState.ts"
import type { LinkListener } from "../../../services/GatewayParts.ts"
import type { PingWheel, WheelMember } from "../PingWheel.ts"
import { chooseCloseCode, ofClose, ofViolation, pingTimeout, type Refusal } from "../socketFailures.ts"
import type { ClientSocket, SocketListener } from "../websocket/ClientSocket.ts"
import type { Violation } from "../websocket/FrameReader.ts"
import { makeOrigin, openWebSocket } from "../websocket/handshake.ts"
import { readControlFrame } from "./controlFrames.ts"

export interface LinkOptions {
  /** The socket's URL, without a query. */
  readonly url: string
  readonly headers: Readonly<Record<string, string>>
  readonly handshakeMillis: number
  readonly wheel: PingWheel
}

/** Maximum size of a frame: a list of a thousand slots takes some 200 KiB. A larger one ends the link. */
const frameBytesMax = 4 * 1024 * 1024

/**
 * After a pairing GOWA reconnects with the new credentials, within seconds to half a minute, without an announcement:
 * the status of waiting devices is requested at these times, in milliseconds.
 */
const pairedDelays = [500, 2000, 4000, 8000, 16_000, 30_000]

export class GowaLink implements SocketListener, WheelMember {
  wheelSlot = -1
  wheelIndex = -1
  misses = 0
  readonly paused = false
  readonly #socket: ClientSocket
  readonly #listener: LinkListener
  readonly #wheel: PingWheel
  #ended = false
  #failure: Failure | null = null
  #hints: ReadonlyArray<NodeJS.Timeout> = []

  constructor(socket: ClientSocket, listener: LinkListener, wheel: PingWheel) {
    this.#socket = socket
    this.#listener = listener
    this.#wheel = wheel
    socket.listener = this
    wheel.add(this)
  }

  end(failure: Failure): void {
    if (this.#ended) return
    this.#finish(failure)
    if (failure.code === "ping-timeout") this.#socket.terminate()
    else this.#socket.close(chooseCloseCode(failure))
  }

  sendPing(): void {
    this.#socket.ping()
  }

  onDead(): void {
    const { missesMax, turn } = this.#wheel.options
    this.end(pingTimeout(missesMax * turn))
  }

  onPong(): void {
    this.misses = 0
  }

  onViolation(violation: Violation): void {
    this.#failure ??= ofViolation(violation)
  }

  onClose(code: number): void {
    this.#finish(this.#failure ?? ofClose(code))
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    if (this.#ended) return
    this.misses = 0
    const news = isBinary ? null : readControlFrame(data.toString("utf8"))
    if (news === null) return
    if (news._tag === "Paired") return this.#hintLater()
    const target = this.#listener.find(news.slot)
    if (target !== null) this.#listener.onEvent(target.deviceId, news.event)
  }

  #hintLater(): void {
    this.#forgetHints()
    this.#hints = pairedDelays.map((millis) => setTimeout(() => this.#listener.onAny({ _tag: "StatusHint" }), millis))
  }

  #forgetHints(): void {
    for (const hint of this.#hints) clearTimeout(hint)
    this.#hints = []
  }

  #finish(failure: Failure): void {
    if (this.#ended) return
    this.#ended = true
    this.#wheel.remove(this)
    this.#forgetHints()
    this.#listener.onEnd(failure)
  }
}

/** Opens the link under the name of a slot, and calls one of the two callbacks once. Returns a function that cancels. */
export const connect = (
  options: LinkOptions,
  slot: string,
  listener: LinkListener,
  onOpen: (link: GowaLink) => void,
  onRefused: (refusal: Refusal) => void
): () => void => {
  const { handshakeMillis: millis, url, wheel } = options
  return openWebSocket(
    { origin: makeOrigin(url), millis, frameBytesHardMax: frameBytesMax },
    { url, headers: { ...options.headers, "X-Device-Id": encodeURIComponent(slot) } },
    (socket) => onOpen(new GowaLink(socket, listener, wheel)),
    onRefused
  )
}
