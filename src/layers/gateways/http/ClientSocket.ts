/**
 * `ws` from the moment at which the protocol has changed: our side has opened the connection and done the handshake, and
 * `ws` does framing, masks, control frames and the close.
 *
 * `ws` offers this to its own server only. Its version is pinned, and the conformance suites would show a change: a frame
 * that is not masked is refused by every server.
 *
 * What the socket has read goes to `ws` in turns (`ReadTurns`). What waits stays in the socket's own buffer, which is at
 * most what two reads of the system bring, 128 KiB.
 *
 * A socket that has broken tells so only later, and hands out nothing until then: what reads it meanwhile takes data out of the
 * buffer that nobody gets. So nothing is read from then on but by `ws`, which takes what is left when it hears of the end.
 */
import type { Socket } from "node:net"
import { WebSocket } from "ws"
import { readTurns } from "./ReadTurns.ts"
import type { TurnReader } from "./ReadTurns.ts"

interface Framing {
  readonly allowSynchronousEvents: boolean
  readonly maxPayload: number
  readonly maxFragments: number
  readonly maxBufferedChunks: number
}

/** How long a gateway may take to answer our close frame before the connection is cut, in milliseconds. */
const closeTimeout = 1000

/** As `ws` has them for its own clients. */
const pendingPongsMax = 60
const fragmentsMax = 16 * 1024
const bufferedChunksMax = 256 * 1024

// The typed constructor knows no options for a socket without an address.
const withoutAddress = [
  null,
  undefined,
  { autoPong: true, maxPendingAutoPongs: pendingPongsMax, closeTimeout }
] as unknown as [null]

type Read = (this: Socket, chunk: Buffer) => void

interface OwnedSocket extends Socket {
  owner?: ClientSocket
}

export class ClientSocket extends WebSocket implements TurnReader {
  /** Of `ws`: says which side masks. */
  declare protected _isServer: boolean
  declare protected setSocket: (socket: Socket, head: Buffer, framing: Framing) => void

  #socket: Socket | null = null
  /** How `ws` reads a chunk. */
  #read: Read | null = null
  #waits = false
  #hasTurn = false

  constructor() {
    super(...withoutAddress)
    this._isServer = false
  }

  /** `head`: what came behind the handshake. A frame above `frameBytesHardMax` ends the connection before it is in memory. */
  take(socket: Socket, head: Buffer, frameBytesHardMax: number): void {
    this.setSocket(socket, head, {
      allowSynchronousEvents: true,
      maxPayload: frameBytesHardMax,
      maxFragments: fragmentsMax,
      maxBufferedChunks: bufferedChunksMax
    })
    this.#socket = socket
    this.#read = socket.listeners("data")[0] as Read
    ;(socket as OwnedSocket).owner = this
    socket.removeListener("data", this.#read)
    socket.on("data", onData)
    socket.prependListener("close", onClose)
  }

  onChunk(chunk: Buffer): void {
    if (this.#hasTurn) return this.#read!.call(this.#socket!, chunk)
    if (!this.#waits && readTurns.begin()) {
      this.#read!.call(this.#socket!, chunk)
      return readTurns.done()
    }
    // Back into the socket's own buffer: its end, its close and a pause by the reader then come in their order.
    this.#socket!.pause()
    this.#socket!.unshift(chunk)
    if (this.#waits) return
    this.#waits = true
    readTurns.wait(this)
  }

  override resume(): void {
    if (this.#socket?.destroyed !== true) super.resume()
  }

  onTurn(): void {
    this.#waits = false
    if (this.#socket!.destroyed) return
    // When the reader resumes, the chunk comes again.
    if (this.isPaused) return
    this.#hasTurn = true
    this.#socket!.read()
    this.#hasTurn = false
    if (!this.isPaused) this.#socket!.resume()
  }
}

function onData(this: OwnedSocket, chunk: Buffer): void {
  this.owner!.onChunk(chunk)
}

/** `ws` takes what is left in the buffer for itself. */
function onClose(this: OwnedSocket): void {
  this.removeListener("data", onData)
}
