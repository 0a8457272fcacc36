/** Pages of lists: the request and answer of every operation that lists something. */
import { Schema } from "effect"

/** Page sizes. A page is held in memory as a whole, so it has a bound. */
export const pageLimitDefault = 100
export const pageLimitMax = 1000
export const PageLimit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: pageLimitMax }))

/** A cursor from a page. Columba's own cursors are shorter than this bound. */
export const Cursor = Schema.String.check(Schema.isMaxLength(512)).annotate({
  description: "Where the page begins: the `next` of the previous page"
})

/** A page of a list. */
export const page = <Item extends Schema.Top>(identifier: string, item: Item) =>
  Schema.Struct({
    items: Schema.Array(item),
    /** Send it as `cursor` to continue; null if there are no more. */
    next: Schema.NullOr(Schema.String)
  }).annotate({ identifier })
