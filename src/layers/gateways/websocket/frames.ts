/** The frames that a client sends, each masked by bytes that a server cannot predict, and those bytes. */
import { randomFillSync } from "node:crypto"

export type ControlFrame = "close" | "ping" | "pong"

const opcodes: Readonly<Record<ControlFrame, number>> = { close: 0x8, ping: 0x9, pong: 0xa }

const headBytes = 2
const maskBytes = 4

/** Drawn for many at once: one draw for each would be most of the cost of a frame or a key. */
const pool = Buffer.alloc(4096)
let drawn = pool.length

/** Unpredictable bytes, valid until the next call. They are no secret. */
export const drawBytes = (count: number): Buffer => {
  if (drawn + count > pool.length) {
    randomFillSync(pool)
    drawn = 0
  }
  drawn += count
  return pool.subarray(drawn - count, drawn)
}

/** `content` has 125 bytes at most. */
export const writeControl = (frame: ControlFrame, content: Buffer): Buffer => {
  const from = headBytes + maskBytes
  const written = Buffer.allocUnsafe(from + content.length)
  written[0] = 0x80 | opcodes[frame]
  written[1] = 0x80 | content.length
  written.set(drawBytes(maskBytes), headBytes)
  for (let index = 0; index < content.length; index++) {
    written[from + index] = content[index]! ^ written[headBytes + (index & 3)]!
  }
  return written
}

/** The content of a close frame. Without a code there is none. */
export const closeContent = (code: number | null): Buffer => {
  if (code === null) return Buffer.alloc(0)
  const content = Buffer.allocUnsafe(2)
  content.writeUInt16BE(code)
  return content
}
