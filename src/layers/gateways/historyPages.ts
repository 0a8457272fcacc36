/**
 * How the history of a `gowa` or `bridge` gateway is walked, one request a page. There is no feed over all chats: there is a list of chats by their
 * newest message, and the messages of one chat, newest first. Pure, so that the walk is tested without a gateway.
 *
 * - The list of chats shifts while it is read: a chat that gets a message moves to the top, past pages that were read.
 *   So where the list took more than one page, a second pass reads the chats that changed since the walk began.
 * - The newest message of a chat is the one that was processed last: a late one moves the chat down the list. So the
 *   list is read on a while below the window's beginning, and `updated_at` counts as well.
 * - Rows vanish while a chat is read (a revoked message is deleted). So the next page of a chat is asked for by time,
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
  /** A chat that moves in the list while it is read has a message that is not older, in seconds. */
  readonly movedSince: number
  /** Chats of this pass that the list has given so far. */
  readonly listed: number
  /** Whether the list goes on below what it has given. */
  readonly more: boolean
  /** Chats of the last page of the list that are still to be read. */
  readonly chats: ReadonlyArray<string>
  /** Where the rest of the first of them ends, in seconds; null: at the window's end. */
  readonly until: number | null
  /** Rows of that very second that were read. */
  readonly skip: number
  /** Rows that a page of messages may have: fewer where full pages of this chat are too large to be read. */
  readonly limit: number
}

/** In seconds since the epoch, both ends included. */
export interface Bounds {
  readonly from: number
  readonly to: number
}

/** What these gateways allow. */
export const pageMax = 100

const beginning = { listed: 0, more: true, chats: [], until: null, skip: 0, limit: pageMax }

/** The walk through a window that may end after `now`, in seconds: nothing has moved yet that is older than now. */
export const start = (bounds: Bounds, now: number): Cursor => ({
  ...beginning,
  pass: 1,
  movedSince: Math.min(bounds.to, now) - skewSeconds
})

/** A late message moves its chat down by its own age: what came this late is still found. */
const lateSeconds = 24 * 3600

/** The gateway's clock may differ from ours by this much. */
const skewSeconds = 60

/** More messages of one chat in one second than any account gets: an answer that never ends. */
export const sameSecondMax = 10_000

/** The walk after a page of the list of chats. */
export const afterChats = (cursor: Cursor, page: ReadonlyArray<Chat>, bounds: Bounds): Cursor => {
  const from = cursor.pass === 1 ? bounds.from : cursor.movedSince
  const chats = page
    .filter(({ jid, lastMessageAt, updatedAt }) => isHeard(jid) && (lastMessageAt >= from || updatedAt >= from))
    .map(({ jid }) => jid)
  const below = page.some(({ lastMessageAt }) => lastMessageAt < from - lateSeconds)
  return {
    ...cursor,
    listed: cursor.listed + page.length,
    more: page.length >= pageMax && !below,
    chats
  }
}

/** Status and broadcast lists never come as events, and channels come without text: no row of them was ever missed. */
const isHeard = (jid: string): boolean => !jid.endsWith("@broadcast") && !jid.endsWith("@newsletter")

/** The walk after a page of the first chat's messages; `oldest` in seconds, null where no row has a time. */
export const afterMessages = (cursor: Cursor, rows: number, oldest: number | null, bounds: Bounds): Cursor => {
  if (rows < cursor.limit || oldest === null || oldest < bounds.from) {
    return { ...cursor, chats: cursor.chats.slice(1), until: null, skip: 0, limit: pageMax }
  }
  return oldest === cursor.until
    ? { ...cursor, skip: cursor.skip + rows }
    : { ...cursor, until: oldest, skip: 0 }
}

/** What comes next; null: the walk is over. */
export const settle = (cursor: Cursor): Cursor | null => {
  if (cursor.chats.length > 0 || cursor.more) return cursor
  return cursor.pass === 1 && cursor.listed > pageMax ? { ...beginning, pass: 2, movedSince: cursor.movedSince } : null
}
