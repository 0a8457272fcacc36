/** The frames of the `bridge` dialect. */
import type { Payload } from "../Dialect.ts"

/** Lifetime of a QR code. */
export const qrSeconds = 30

export const encodeFrame = (slot: string, event: string, payload: Payload): string =>
  JSON.stringify(
    event === "message.ack" || event === "chat_presence"
      ? { event, device_id: slot, timestamp: payload.timestamp, payload }
      : { event, device_id: slot, payload }
  )

/** Data that is not an event of the dialect. */
export const junk: ReadonlyArray<string> = [
  "hello?",
  "{\"event\":\"message\"",
  "[1,2,3]",
  "null",
  "{\"code\":\"LIST_DEVICES\",\"message\":\"Device found\",\"result\":null}",
  "{\"event\":\"message\",\"payload\":{}}"
]
