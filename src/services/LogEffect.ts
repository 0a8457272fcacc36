/**
 * The effects of an append: what a transaction changes besides recording events. These tables are their only
 * declaration. The columns give the type of an effect, the parameters of the append function and their encoding; each
 * store applies an effect in a table of its own that has one entry per tag, so the compiler reports an effect that a
 * store lacks.
 *
 * An effect belongs to a draft (applied if that draft is new) or to a group (applied unless the group is refused or was
 * committed before). It must be idempotent: after an unknown outcome it may be applied twice.
 */
import type { Timestamp } from "../domain/Ids.ts"

interface Column {
  readonly type: "text" | "timestamp" | "integer"
  readonly nullable: boolean
}

const text = { type: "text", nullable: false } as const
const nullableText = { type: "text", nullable: true } as const
const timestamp = { type: "timestamp", nullable: false } as const
const nullableTimestamp = { type: "timestamp", nullable: true } as const
const integer = { type: "integer", nullable: false } as const

/** Effects that many events have: one array of parameters per column. */
export const effectColumns = {
  /** An ack moves a message's status forward. `message` is the message's key. */
  Ack: { message: text, status: text },
  /**
   * A device's recorded state. `state` is JSON text, `tag` its tag; a null `jid` or `phone` leaves the stored value.
   */
  State: { device: text, state: text, tag: text, jid: nullableText, phone: nullableText }
} as const satisfies Record<string, Readonly<Record<string, Column>>>

/** Effects that few batches have: one parameter for all of them, so that a batch without any costs nearly nothing. */
export const rareEffectColumns = {
  /** A gap is recorded. While it lasts, a later effect can refine its cause. */
  GapOpen: { gap: text, device: text, cause: text, openedAt: timestamp, detail: text },
  /**
   * Reception resumed. It contains the whole gap, so that a gap that was lost when a log went back is restored. The
   * first end stands.
   */
  GapEnd: { gap: text, device: text, cause: text, openedAt: timestamp, endedAt: timestamp, detail: text },
  /** A gap is accounted for; also contains the whole gap. `proven` is a list with commas. The first close stands. */
  GapClose: {
    gap: text,
    device: text,
    cause: text,
    openedAt: timestamp,
    endedAt: timestamp,
    status: text,
    proven: text,
    recovered: integer,
    detail: text
  },
  /**
   * A device's reception is accounted for through this time. Never backwards, and never beyond the database's clock; a
   * watermark in the future, which a clock that was set back leaves behind, is replaced. A null `sweptAt` leaves the
   * stored value.
   */
  Watermark: { device: text, through: timestamp, sweptAt: nullableTimestamp },
  /**
   * Everything that a process received until `at` was appended to the log before this effect. `after` is the process's
   * last read value of itself: with another value in the database nothing changes, since an older database has taken
   * its place.
   */
  Alive: { owner: text, at: timestamp, after: nullableTimestamp },
  /**
   * The outcome of a message that Columba sends; `message` is the key of its WhatsApp id. Only a message that is being
   * sent, or in doubt, changes its state; for one that has the state already, the effect records that it was reported.
   */
  Send: {
    send: text,
    state: text,
    message: nullableText,
    waId: nullableText,
    reason: nullableText,
    detail: nullableText
  }
} as const satisfies Record<string, Readonly<Record<string, Column>>>

export type FrequentTag = keyof typeof effectColumns
export type RareTag = keyof typeof rareEffectColumns
export type EffectTag = FrequentTag | RareTag

interface Columns extends Readonly<typeof effectColumns>, Readonly<typeof rareEffectColumns> {}

type ValueOf<Of extends Column> =
  | (Of["type"] extends "integer" ? number : Of["type"] extends "timestamp" ? Timestamp : string)
  | (Of["nullable"] extends true ? null : never)

export type EffectOf<Tag extends EffectTag> =
  & { readonly _tag: Tag }
  & { readonly [Name in keyof Columns[Tag]]: Columns[Tag][Name] extends Column ? ValueOf<Columns[Tag][Name]> : never }

export type LogEffect = { readonly [Tag in EffectTag]: EffectOf<Tag> }[EffectTag]
export type FrequentEffect = { readonly [Tag in FrequentTag]: EffectOf<Tag> }[FrequentTag]
export type RareEffect = { readonly [Tag in RareTag]: EffectOf<Tag> }[RareTag]

export const frequentTags: ReadonlyArray<FrequentTag> = ["Ack", "State"]

/** In the order in which a transaction applies them: a gap that opens and closes in one batch is opened first. */
export const rareTags: ReadonlyArray<RareTag> = ["GapOpen", "GapEnd", "GapClose", "Watermark", "Alive", "Send"]

export const isRare = (effect: LogEffect): effect is RareEffect => effect._tag in rareEffectColumns

/** The values of a frequent effect in the order of its columns. */
export const effectValues = (effect: FrequentEffect): ReadonlyArray<string | null> => {
  const values: Readonly<Record<string, string | null>> = effect
  return Object.keys(effectColumns[effect._tag]).map((column) => values[column]!)
}

/** RFC 3339 in UTC or with an offset, from 1970 on: the times that every store can hold. */
const timePattern = /^(?!0|1[0-8]|19[0-6])\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/

/**
 * A rare effect that no store refuses for its data: an effect that cannot be stored would block the log. Throws on a
 * value of another type, which is a defect of the caller.
 */
export const checkEffect = (effect: RareEffect): RareEffect => {
  const values: Readonly<Record<string, unknown>> = effect
  const checked: Record<string, unknown> = { _tag: effect._tag }
  for (const { column, name } of columnsOf[effect._tag]) checked[name] = checkValue(column, values[name])
  // These are the columns of this tag, each with a value of its column's type.
  return checked as RareEffect
}

interface NamedColumn {
  readonly name: string
  readonly column: Column
}

const listColumns = (tag: RareTag): ReadonlyArray<NamedColumn> =>
  Object.entries(rareEffectColumns[tag]).map(([name, column]) => ({ name, column }))

/** Computed once: a fleet that reconnects has thousands of these effects. */
const columnsOf = Object.fromEntries(rareTags.map((tag) => [tag, listColumns(tag)])) as Readonly<
  Record<RareTag, ReadonlyArray<NamedColumn>>
>

// oxlint-disable-next-line no-control-regex
const nul = /\u0000/g

const checkValue = ({ nullable, type }: Column, value: unknown): string | number | null => {
  if (value === null && nullable) return null
  if (type === "integer") {
    if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 31) return value
  } else if (typeof value === "string") {
    if (type === "text") return value.toWellFormed().replace(nul, "\ufffd")
    if (timePattern.test(value) && !Number.isNaN(Date.parse(value))) return new Date(value).toISOString()
  }
  throw new TypeError(`Not a value that an effect can have as its ${type}`)
}
