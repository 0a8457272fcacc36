/** Page cursors are opaque to callers: text that Columba makes and that contains where the next page begins. */
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

/** Message lists are ordered by the number of the event that brought the message, device lists by creation. */
export const seqPattern = /^[1-9][0-9]{0,14}$/

export const pageLimit = (limit: number): number => Math.min(Math.max(Math.trunc(limit), 1), 1000)
