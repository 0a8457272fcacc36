/** Columba's WebSocket client with a record of what it receives, and the bytes that a test server answers with. */
import { Effect } from "effect"
import { createHash } from "node:crypto"
import type { ClientSocket, SocketListener } from "../../src/layers/gateways/websocket/ClientSocket.ts"

export const acceptFor = (key: string): string =>
  createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64")

export const switching = (accept: string, extra = ""): string =>
  `HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n${extra}\r\n`

/** A server's frame. `first`: its first byte. */
export const serverFrame = (first: number, content: string | Uint8Array): Buffer => {
  const body = Buffer.from(content as Uint8Array)
  const head = body.length < 126 ? Buffer.from([first, body.length]) : Buffer.alloc(body.length < 65_536 ? 4 : 10)
  if (head.length > 2) {
    head[0] = first
    head[1] = head.length === 4 ? 126 : 127
    if (head.length === 4) head.writeUInt16BE(body.length, 2)
    else head.writeUInt32BE(body.length, 6)
  }
  return Buffer.concat([head, body])
}

export const closeFrame = (code: number, reason: string | Uint8Array = ""): Buffer => {
  const content = Buffer.concat([Buffer.alloc(2), Buffer.from(reason as Uint8Array)])
  content.writeUInt16BE(code)
  return serverFrame(0x88, content)
}

/** A client's control frame without its mask; null if it is none. */
export const readClientFrame = (
  frame: Buffer
): { readonly opcode: number; readonly content: Buffer; readonly rest: Buffer } | null => {
  const [first, second] = frame
  if (first === undefined || second === undefined || second < 0x80) return null
  const length = second & 0x7f
  const mask = frame.subarray(2, 6)
  const content = Buffer.from(frame.subarray(6, 6 + length)).map((byte, index) => byte ^ mask[index & 3]!)
  return { opcode: first & 0x0f, content: Buffer.from(content), rest: frame.subarray(6 + length) }
}

/** What happened, as text: `text hello`, `binary 1f`, `pong`, `violation …`, `close 1000 reason`. */
export class Heard implements SocketListener {
  readonly words: Array<string> = []
  readonly #socket: ClientSocket
  #onWord: (word: string) => void = () => {}

  constructor(socket: ClientSocket) {
    this.#socket = socket
    socket.listener = this
  }

  static listenTo(socket: ClientSocket): Heard {
    return new Heard(socket)
  }

  #say(word: string): void {
    this.words.push(word)
    this.#onWord(word)
  }

  onMessage(data: Buffer, isBinary: boolean): void {
    this.#say(isBinary ? `binary ${data.toString("hex")}` : `text ${data.toString("utf8")}`)
  }

  onPong(): void {
    this.#say("pong")
  }

  onViolation(violation: string): void {
    this.#say(`violation ${violation}`)
  }

  onClose(code: number, reason: string): void {
    this.#say(`close ${code} ${reason}`.trimEnd())
  }

  /** Is called with each entry from now on. */
  set onWord(tell: (word: string) => void) {
    this.#onWord = tell
  }

  /** The first entry that starts with this, recorded already or from now on. */
  until(beginning: string): Effect.Effect<string> {
    return Effect.callback((resume) => {
      const said = this.words.find((word) => word.startsWith(beginning))
      if (said !== undefined) return resume(Effect.succeed(said))
      this.#onWord = (word) => {
        if (word.startsWith(beginning)) resume(Effect.succeed(word))
      }
    })
  }

  /** Sends a frame to the server, so that it answers. */
  ping(): void {
    this.#socket.ping()
  }
}
