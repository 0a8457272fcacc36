/**
 * `ws` from the moment at which the protocol has changed: our side has opened the connection and done the handshake, and
 * `ws` does framing, masks, control frames and the close.
 *
 * `ws` offers this to its own server only. Its version is pinned, and the conformance suites would show a change: a frame
 * that is not masked is refused by every server.
 */
import type { Socket } from "node:net"
import { WebSocket } from "ws"

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

export class ClientSocket extends WebSocket {
  /** Of `ws`: says which side masks. */
  declare protected _isServer: boolean
  declare protected setSocket: (socket: Socket, head: Buffer, framing: Framing) => void

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
  }
}
