/** Pages of lists, as every operation that lists something takes and answers them. */
import { Schema } from "effect"

/** Page sizes. A page is held in memory as a whole, so it has a bound. */
export const pageLimitDefault = 100
export const pageLimitMax = 1000
export const PageLimit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: pageLimitMax }))

/** A cursor as a page named it. Ours are shorter than this bound. */
export const Cursor = Schema.String.check(Schema.isMaxLength(512)).annotate({
  description: "Where the page begins: the `next` of the page before it"
})

/** A page of a list. */
export const page = <Item extends Schema.Top>(identifier: string, item: Item) =>
  Schema.Struct({
    items: Schema.Array(item),
    /** Give it as `cursor` to read on; null where there is no more. */
    next: Schema.NullOr(Schema.String)
  }).annotate({ identifier })
