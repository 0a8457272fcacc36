/**
 * The hub of GOWA's `/ws`: one set of connections for all slots. Every frame goes to every connection, one after
 * another, and the next frame waits for the last write of the one before: a client that stops reading blocks the hub, and
 * all code that waits for a frame to be sent.
 */
import type { WebSocket } from "ws"
import { hold, type SocketHolder } from "../Dialect.ts"

export interface HubFrame {
  readonly code: string
  readonly message: string
  readonly result: unknown
}

export class GowaHub implements SocketHolder {
  readonly sockets = new Set<WebSocket>()
  readonly frozen = new Set<WebSocket>()
  readonly #onFrame: (bytes: number) => void
  readonly #fetchDevices: () => HubFrame
  #last: Promise<void> = Promise.resolve()
  /** Number of frames that have not been sent to every connection yet. */
  waiting = 0

  constructor(onFrame: (bytes: number) => void, fetchDevices: () => HubFrame) {
    this.#onFrame = onFrame
    this.#fetchDevices = fetchDevices
  }

  attach(socket: WebSocket): void {
    hold(this, socket)
    socket.on("message", (data: Buffer, isBinary) => {
      // Binary frames are logged by GOWA and ignored.
      if (isBinary) return
      const frame = readObject(data.toString("utf8"))
      // Anything but a JSON object ends the connection, without a close frame.
      if (frame === null) return socket.terminate()
      if (frame.code === "FETCH_DEVICES") void this.broadcast(this.#fetchDevices())
    })
  }

  /** Resolves once the frame has been sent to every connection. */
  broadcast(frame: HubFrame): Promise<void> {
    return this.broadcastText(JSON.stringify(frame))
  }

  broadcastText(text: string): Promise<void> {
    this.waiting++
    this.#last = this.#last.then(() => this.#write(text)).finally(() => {
      this.waiting--
    })
    return this.#last
  }

  async #write(text: string): Promise<void> {
    for (const socket of [...this.sockets]) {
      if (socket.readyState !== socket.OPEN) continue
      this.#onFrame(text.length)
      // A broken connection calls back with its error and blocks nobody.
      await new Promise<void>((resolve) => {
        const done = () => {
          socket.off("close", done)
          resolve()
        }
        socket.once("close", done)
        socket.send(text, done)
      })
    }
  }
}

const readObject = (text: string): { readonly code?: unknown } | null => {
  try {
    const value: unknown = JSON.parse(text)
    return typeof value === "object" && value !== null && !Array.isArray(value) ? value : null
  } catch {
    return null
  }
}
