/**
 * Claims of cursors, each in two steps: the epoch is read, and the cursor is claimed if it still has that epoch. The database
 * may carry a statement out after its sender has given it up and asked again. Such a late claim names an epoch that has
 * passed, so it changes nothing: a process never ends a claim of its own.
 */
import { Effect } from "effect"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { CursorClaim, EventLog } from "../services/EventLog.ts"
import type { LogStore } from "./LogStore.ts"

/**
 * Times that another claim comes between the two steps, which are two round trips. Each time it is another process that
 * has claimed the cursor, and processes that lose a cursor stand by for half a minute.
 */
const triesMax = 8

const refused = StorageUnavailable.of("claim a cursor", "others claimed it at the same time")

/** `generation`: of the log, as it is known at the moment. */
export const makeCursorClaims = (
  store: LogStore["Service"],
  generation: () => number
): Pick<EventLog["Service"], "claimCursor" | "resumeCursor"> => {
  type Claimed = Omit<CursorClaim, "generation"> | null

  /** Null: `claim` does not make a cursor, and there is none. */
  const claimKnown = Effect.fnUntraced(function*(
    sink: string,
    claim: (epoch: number | null) => Effect.Effect<Claimed, StorageUnavailable> | null
  ) {
    for (let tries = 0; tries < triesMax; tries++) {
      // As known before the answer: if it is of an older log, the reader of the claim ends and claims again.
      const before = generation()
      const asked = claim(yield* store.cursorEpoch(sink))
      if (asked === null) return null
      const claimed = yield* asked
      if (claimed !== null) return { ...claimed, generation: before }
    }
    return yield* refused
  })

  return {
    claimCursor: (sink, from, keep = null) =>
      claimKnown(sink, (epoch) => store.claimCursor(sink, epoch, { from, keep })).pipe(
        Effect.flatMap((claimed) => claimed === null ? Effect.fail(refused) : Effect.succeed(claimed))
      ),
    resumeCursor: (sink) => claimKnown(sink, (epoch) => epoch === null ? null : store.claimCursor(sink, epoch, null))
  }
}
