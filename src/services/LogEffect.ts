/**
 * The effects of an append: what a transaction changes besides recording events. This table is their only declaration.
 * Its columns give the type of an effect, the parameters of the append function and their encoding; each store applies
 * an effect in a table of its own that has one entry per tag, so the compiler reports an effect that a store lacks.
 *
 * An effect belongs to a draft (applied if that draft is new) or to a group (applied unless the group is refused or was
 * committed before). It must be idempotent: after an unknown outcome it may be applied twice.
 */

const text = { nullable: false } as const
const nullableText = { nullable: true } as const

export const effectColumns = {
  /** An ack moves a message's status forward. `message` is the message's key. */
  Ack: { message: text, status: text },
  /** A device's recorded state. `state` is JSON text, `tag` its tag; a null `jid` or `phone` leaves what is known. */
  State: { device: text, state: text, tag: text, jid: nullableText, phone: nullableText }
} as const satisfies Record<string, Readonly<Record<string, { readonly nullable: boolean }>>>

export type EffectTag = keyof typeof effectColumns

type Columns<Tag extends EffectTag> = (typeof effectColumns)[Tag]

export type EffectOf<Tag extends EffectTag> =
  & { readonly _tag: Tag }
  & {
    readonly [Column in keyof Columns<Tag>]: Columns<Tag>[Column] extends { readonly nullable: true } ? string | null
      : string
  }

export type LogEffect = { readonly [Tag in EffectTag]: EffectOf<Tag> }[EffectTag]

export const effectTags: ReadonlyArray<EffectTag> = ["Ack", "State"]

/** The values of an effect in the order of its columns. */
export const effectValues = (effect: LogEffect): ReadonlyArray<string | null> =>
  Object.keys(effectColumns[effect._tag]).map((column) => (effect as Readonly<Record<string, string | null>>)[column]!)
