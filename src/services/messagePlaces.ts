/**
 * Lists of messages are merged from two sources: those of the log, by the number of the event that brought them, and
 * those that Columba sends, which stand after the newest event at the moment they were accepted. Newest first.
 */
import type { Message } from "../domain/Message.ts"

export interface Place {
  readonly seq: number
  /** 0: the event of this number. Else one of the messages that were accepted while it was the newest, in their order. */
  readonly ordinal: number
}

export interface Placed {
  readonly place: Place
  readonly message: Message
}

/** The result of one source: at most one more than the page holds. */
export interface Found {
  readonly rows: ReadonlyArray<Placed>
  /** Where the search stopped, if that is before its end: older messages are not searched yet. */
  readonly through: Place | null
}

/** A plain number is the place of the event, as in pages of earlier versions. */
export const placePattern = /^(0|[1-9][0-9]{0,14})(\.(0|[1-9][0-9]{0,14}))?$/

export const formatPlace = ({ ordinal, seq }: Place): string => `${seq}.${ordinal}`

export const parsePlace = (text: string): Place => {
  const [seq, ordinal] = text.split(".")
  return { seq: Number(seq), ordinal: Number(ordinal ?? 0) }
}

/** Before everything. */
export const newest: Place = { seq: Number.MAX_SAFE_INTEGER, ordinal: 0 }

export const isOlder = (one: Place, other: Place): boolean =>
  one.seq < other.seq || (one.seq === other.seq && one.ordinal < other.ordinal)

/** Events below this number are older than the place. */
export const eventsBelow = ({ ordinal, seq }: Place): number => ordinal > 0 ? seq + 1 : seq

export const mergePages = (
  limit: number,
  ...sources: ReadonlyArray<Found>
): { readonly items: ReadonlyArray<Message>; readonly next: Place | null } => {
  const stops = sources.flatMap(({ through }) => through ?? [])
  const stop = stops.reduce<Place | null>((last, one) => last === null || isOlder(last, one) ? one : last, null)
  const rows = sources.flatMap((source) => source.rows)
    .filter(({ place }) => stop === null || !isOlder(place, stop))
    .sort((one, other) => isOlder(one.place, other.place) ? 1 : -1)
  const items = rows.slice(0, limit)
  const last = items.at(-1)
  return {
    items: items.map(({ message }) => message),
    next: rows.length > limit && last !== undefined ? last.place : stop
  }
}
