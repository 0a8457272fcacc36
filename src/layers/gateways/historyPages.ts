/**
 * The walk through the history of a `gowa` or `bridge` gateway, one request per page. There is no feed over all chats: there
 * is a list of chats by their newest message, and the messages of one chat, newest first. Pure, so it is tested without a gateway.
 *
 * - The list of chats shifts while it is read: a chat that gets a message moves to the top, past pages that were read.
 *   So where the list took more than one page, a second pass reads the chats that changed since the walk began.
 * - The newest message of a chat is the one that was processed last: a late one moves the chat down the list. So the
 *   list is read to some time before the window's beginning, and `updated_at` counts as well.
 * - Rows vanish while a chat is read (a revoked message is deleted). So the next page of a chat is requested by time,
 *   from the oldest row of the last one, and not by an offset. Rows of that second come twice, which is harmless.
 */

export interface Chat {
  readonly jid: string
  readonly lastMessageAt: number
  readonly updatedAt: number
}

/** The state of a walk between two pages. */
export interface Cursor {
  readonly pass: 1 | 2
  /** Time in seconds: a chat that moves in the list while it is read has a message that is not older. */
  readonly movedSince: number
  /** Number of chats of this pass that the list has returned so far. */
  readonly listed: number
  /** Whether the list continues. */
  readonly more: boolean
  /** Chats of the last page of the list that are still to be read. */
  readonly chats: ReadonlyArray<string>
  /** Where the rest of the first of these chats ends, in seconds; null: at the window's end. */
  readonly until: number | null
  /** Number of rows of that very second that were read. */
  readonly skip: number
  /** Maximum number of rows in a page of messages: fewer where full pages of this chat are too large to be read. */
  readonly limit: number
}

/** In seconds since the epoch, both ends included. */
export interface Bounds {
  readonly from: number
  readonly to: number
}

/** The limit of these gateways. */
export const pageMax = 100

const beginning = { listed: 0, more: true, chats: [], until: null, skip: 0, limit: pageMax }

/** The walk through a window that may end after `now`, in seconds: no chat has moved by a message older than now. */
export const start = (bounds: Bounds, now: number): Cursor => ({
  ...beginning,
  pass: 1,
  movedSince: Math.min(bounds.to, now) - skewSeconds
})

/** A late message moves its chat down by its own age: a message this late is still found. */
const lateSeconds = 24 * 3600

/** Maximum difference between the gateway's clock and ours. */
const skewSeconds = 60

/** More messages of one chat in one second than any account gets: an endless answer. */
export const sameSecondMax = 10_000

/** The walk after a page of the list of chats. */
export const afterChats = (cursor: Cursor, page: ReadonlyArray<Chat>, bounds: Bounds): Cursor => {
  const from = cursor.pass === 1 ? bounds.from : cursor.movedSince
  const chats = page
    .filter(({ jid, lastMessageAt, updatedAt }) => comesAsEvents(jid) && (lastMessageAt >= from || updatedAt >= from))
    .map(({ jid }) => jid)
  const below = page.some(({ lastMessageAt }) => lastMessageAt < from - lateSeconds)
  return {
    ...cursor,
    listed: cursor.listed + page.length,
    more: page.length >= pageMax && !below,
    chats
  }
}

/** Status and broadcast lists never come as events, and channels come without text: none of their rows was ever missed. */
const comesAsEvents = (jid: string): boolean => !jid.endsWith("@broadcast") && !jid.endsWith("@newsletter")

/** The walk after a page of the first chat's messages; `oldest` in seconds, null where no row has a time. */
export const afterMessages = (cursor: Cursor, rows: number, oldest: number | null, bounds: Bounds): Cursor => {
  if (rows < cursor.limit || oldest === null || oldest < bounds.from) {
    return { ...cursor, chats: cursor.chats.slice(1), until: null, skip: 0, limit: pageMax }
  }
  return oldest === cursor.until
    ? { ...cursor, skip: cursor.skip + rows }
    : { ...cursor, until: oldest, skip: 0 }
}

/** The next request; null: the walk is over. */
export const settle = (cursor: Cursor): Cursor | null => {
  if (cursor.chats.length > 0 || cursor.more) return cursor
  return cursor.pass === 1 && cursor.listed > pageMax ? { ...beginning, pass: 2, movedSince: cursor.movedSince } : null
}
