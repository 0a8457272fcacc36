/**
 * Claims of cursors, each in two steps: the epoch is read, and the cursor is claimed if it still has that epoch. The
 * database may execute a statement after its sender has abandoned it and sent another. Such a late claim carries an
 * outdated epoch and changes nothing, so a process never ends its own claim.
 */
import { Effect } from "effect"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { CursorClaim, EventLog } from "../services/EventLog.ts"
import type { LogStore } from "./LogStore.ts"

/**
 * Maximum number of attempts. Another claim may come between the two steps, which are two round trips. Each time
 * another process has claimed the cursor, and processes that lose a cursor wait half a minute before they claim again.
 */
const triesMax = 8

const refused = StorageUnavailable.of("claim a cursor", "others claimed it at the same time")

/** `generation` returns the current generation of the log. */
export const makeCursorClaims = (
  store: LogStore["Service"],
  generation: () => number
): Pick<EventLog["Service"], "claimCursor" | "resumeCursor"> => {
  type Claimed = Omit<CursorClaim, "generation"> | null

  /** Null if the cursor does not exist and `claim` does not create it. */
  const claimKnown = Effect.fnUntraced(function*(
    sink: string,
    claim: (epoch: number | null) => Effect.Effect<Claimed, StorageUnavailable> | null
  ) {
    for (let tries = 0; tries < triesMax; tries++) {
      // Read before the answer: if it belongs to an older log, the claim's reader ends and claims again.
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
