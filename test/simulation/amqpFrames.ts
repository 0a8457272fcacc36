/** Reads the publishes from the frames that the sink writes. */

export interface Publish {
  readonly exchange: string
  readonly routingKey: string
  readonly mandatory: boolean
  readonly body: string
}

const methodFrame = 1
const headerFrame = 2
const bodyFrame = 3
const frameEnd = 0xce

/** A frame has its type, channel and size before its payload, and an end mark after it. */
const headBytes = 7

export const readPublishes = (frames: Buffer): ReadonlyArray<Publish> => {
  const publishes: Array<Publish> = []
  let method: Omit<Publish, "body"> | null = null
  let body = ""
  let bytesLeft = 0
  const complete = () => {
    publishes.push({ ...method!, body })
    method = null
    body = ""
  }
  for (let at = 0; at < frames.length;) {
    const type = frames.readUInt8(at)
    const size = frames.readUInt32BE(at + 3)
    const payload = frames.subarray(at + headBytes, at + headBytes + size)
    if (frames.readUInt8(at + headBytes + size) !== frameEnd) throw new Error("a frame without its end")
    at += headBytes + size + 1
    if (type === methodFrame) {
      method = readMethod(payload)
    } else if (type === headerFrame) {
      bytesLeft = payload.readUInt32BE(8)
      if (bytesLeft === 0) complete()
    } else if (type === bodyFrame) {
      body += payload.toString()
      bytesLeft -= size
      if (bytesLeft === 0) complete()
    }
  }
  return publishes
}

/** After class, method and a reserved number. */
const readMethod = (payload: Buffer): Omit<Publish, "body"> => {
  let at = 6
  const readText = () => {
    const length = payload.readUInt8(at)
    const text = payload.toString("utf8", at + 1, at + 1 + length)
    at += 1 + length
    return text
  }
  const exchange = readText()
  const routingKey = readText()
  return { exchange, routingKey, mandatory: (payload.readUInt8(at) & 1) === 1 }
}
