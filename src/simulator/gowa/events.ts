/** How GOWA encodes an event as the body of a webhook. */
import type { Payload } from "../Dialect.ts"

/** Events with their time next to the payload instead of in it. */
const timedOutside = /^(message\.ack|group\.|call\.offer$|chat_presence$|label\.|newsletter\.)/

export const encodeEvent = (
  account: string | null,
  slot: string,
  event: string,
  payload: Payload,
  autoDownload: boolean
): string => {
  const names = { event, ...(account === null ? undefined : { device_id: account }), session_id: slot }
  if (!timedOutside.test(event)) {
    return JSON.stringify({ ...names, payload: autoDownload ? payload : withoutFiles(payload) })
  }
  const { timestamp, ...rest } = payload
  return JSON.stringify({ ...names, ...(timestamp === undefined ? undefined : { timestamp }), payload: rest })
}

/** Without the download a file has its encrypted address. */
const withoutFiles = (payload: Payload): Payload => {
  const changed: Record<string, unknown> = { ...payload }
  for (const kind of ["image", "video", "video_note"]) {
    if (kind in payload) changed[kind] = { url: encrypted(payload), caption: payload.body ?? "" }
  }
  if ("document" in payload) changed.document = { url: encrypted(payload), filename: "price list.pdf" }
  for (const kind of ["audio", "sticker"]) if (kind in payload) changed[kind] = { url: encrypted(payload) }
  return changed
}

const encrypted = ({ id }: Payload): string => `https://mmg.whatsapp.net/${String(id)}.enc`

/** Bodies that no reader can take for an event. */
export const junk: ReadonlyArray<string> = [
  "hello?",
  "{\"event\":\"message\"",
  "[1,2,3]",
  "null",
  "{\"event\":\"message\",\"payload\":[]}",
  "{\"code\":\"SUCCESS\",\"message\":\"\"}"
]
