/**
 * The history of a slot as `bridge` and `gowa` gateways page it: chats by their newest message, and the messages of one chat,
 * both newest first.
 */
import { envelope, success } from "./envelope.ts"
import type { Reply } from "./http.ts"
import type { HistoryRow } from "./SimulatedDevice.ts"

export const chatsReply = (rows: ReadonlyArray<HistoryRow>, url: URL): Reply => {
  const page = parsePage(url, 25)
  if (page === null) return envelope(400, "VALIDATION_ERROR", "limit: must be between 1 and 100.")
  const newest = new Map<string, HistoryRow>()
  for (const row of rows) newest.set(row.chat_jid, row)
  const chats = [...newest.values()].sort(newestFirst).map(formatChat)
  const { limit, offset } = page
  return success("Success get chat list", {
    data: chats.slice(offset, offset + limit),
    pagination: { limit, offset, total: chats.length }
  })
}

export const messagesReply = (history: ReadonlyArray<HistoryRow>, chat: string, url: URL): Reply => {
  const page = parsePage(url, 50)
  if (page === null) return envelope(400, "VALIDATION_ERROR", "limit: must be between 1 and 100.")
  const start = url.searchParams.get("start_time")
  const end = url.searchParams.get("end_time")
  const rows = history.filter((row) => row.chat_jid === chat)
  // Compared as text, including both ends, as the gateway's database does.
  const within = rows.filter(({ timestamp }) =>
    (start === null || timestamp >= start) && (end === null || timestamp <= end)
  )
  const { limit, offset } = page
  const last = rows.at(-1)
  return success("Success get chat messages", {
    data: within.sort(newestFirst).slice(offset, offset + limit),
    pagination: { limit, offset, total: rows.length },
    chat_info: last === undefined ? { jid: chat, name: "", last_message_time: "" } : formatChat(last)
  })
}

const formatChat = (last: HistoryRow) => ({
  jid: last.chat_jid,
  name: last.sender_display_name,
  last_message_time: last.timestamp,
  ephemeral_expiration: 0,
  created_at: last.created_at,
  updated_at: last.updated_at,
  archived: false
})

const newestFirst = (a: HistoryRow, b: HistoryRow): number =>
  a.timestamp < b.timestamp ? 1 : a.timestamp > b.timestamp ? -1 : 0

const parsePage = (url: URL, usual: number): { readonly limit: number; readonly offset: number } | null => {
  const limit = Number(url.searchParams.get("limit") ?? "") || usual
  const offset = Number(url.searchParams.get("offset") ?? "") || 0
  return limit >= 1 && limit <= 100 && offset >= 0 ? { limit, offset } : null
}
