/**
 * The events of the benchmarks' gateway: a text message in the `bridge` envelope, 580 bytes, with a body
 * that is not plain ASCII, as gateways send it. Each event has its own identity.
 */

/** The size of a whole envelope in bytes. */
const frameBytes = 580

const words = "selamat pagi kakak, pesanan sudah dikirim ya… terima kasih banyak 🙏 ditunggu kabarnya, semoga lancar — "

/** The text of the `number`-th event of a device, padded to `frameBytes`. Says when it is sent, on the machine's monotonic clock. */
export const frameText = (upstreamId: string, number: number, sentAt: number): string => {
  const waId = `3EB0${number.toString(16).toUpperCase().padStart(16, "0")}`
  // A device has conversations with a few people.
  const peer = `62812${String(10_000_000 + (number % 7)).padStart(8, "0")}@s.whatsapp.net`
  const before = `{"event":"message","device_id":"${upstreamId}","payload":{"id":"${waId}",` +
    `"timestamp":"2026-08-22T10:00:00Z","is_from_me":false,"chat_id":"${peer}","from":"${peer}","from_name":"Ayu",` +
    `"sender_display_name":"at ${sentAt.toFixed(3)}","body":"`
  const room = frameBytes - Buffer.byteLength(before) - 3
  return `${before}${makeBody(room)}"}}`
}

/** Bodies by their size in bytes, created once: creating text is not measured. */
const bodies = new Map<number, string>()
const makeBody = (bytes: number): string => {
  const known = bodies.get(bytes)
  if (known !== undefined) return known
  let body = ""
  for (const character of words.repeat(Math.ceil(bytes / words.length) + 1)) {
    if (Buffer.byteLength(body) + Buffer.byteLength(character) > bytes) break
    body += character
  }
  body = body.padEnd(body.length + bytes - Buffer.byteLength(body), ".")
  bodies.set(bytes, body)
  return body
}

/** The text as one unmasked WebSocket frame, ready for the socket. */
export const wireFrame = (text: string): Buffer => {
  const length = Buffer.byteLength(text)
  const frame = Buffer.allocUnsafe(length + 4)
  frame[0] = 0x81
  frame[1] = 126
  frame.writeUInt16BE(length, 2)
  frame.write(text, 4)
  return frame
}

/** The gateway's name of the `index`-th device. */
export const makeUpstreamId = (index: number): string => `slot-${String(index).padStart(5, "0")}`
