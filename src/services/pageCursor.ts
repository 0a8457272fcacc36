/** Page cursors are opaque to callers: text of our own making that says where the next page begins. */
import { Effect } from "effect"
import { CursorInvalid } from "../domain/MessageErrors.ts"

const prefix = "c1:"

export const encodeCursor = (place: string): string => Buffer.from(prefix + place).toString("base64url")

/** `pattern` is the form of a place in this list. */
export const decodeCursor = (cursor: string, pattern: RegExp): Effect.Effect<string, CursorInvalid> => {
  const decoded = Buffer.from(cursor, "base64url").toString()
  const place = decoded.slice(prefix.length)
  return decoded.startsWith(prefix) && pattern.test(place) && encodeCursor(place) === cursor
    ? Effect.succeed(place)
    : Effect.fail(CursorInvalid.of(cursor))
}

/** Message lists go by the number of the event that brought the message. */
export const seqPattern = /^[1-9][0-9]{0,14}$/

/** Device lists go by creation time (RFC 3339 in microseconds) and id. */
export const devicePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,6}Z dev_[0-9A-Z]{26}$/

export const pageLimit = (limit: number): number => Math.min(Math.max(Math.trunc(limit), 1), 1000)
