/** The common parts of commands that print a page of a list. */
import { Flag } from "effect/cli"
import { PageLimit, pageLimitDefault, pageLimitMax } from "../contracts/Paging.ts"

export const limitFlag = (usual: number = pageLimitDefault) =>
  Flag.Int("limit").pipe(
    Flag.withDescription(`maximum number of items, 1 to ${pageLimitMax} (default ${usual})`),
    Flag.withSchema(PageLimit),
    Flag.withDefault(usual)
  )

/** Below a page that is not the last one. */
export const moreLines = ["there are more; raise --limit, or read them page by page over the API"]
