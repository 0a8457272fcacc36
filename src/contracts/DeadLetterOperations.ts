/**
 * The operations on dead letters: incoming messages that could not be handled. They concern all devices, so a key that
 * is limited to some may not use them.
 */
import { Schema } from "effect"
import { DeadLetter, DeadLetterId, DeadLettersUnavailable } from "../domain/DeadLetter.ts"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { deadLetter } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { PageLimit } from "./Paging.ts"

/** For more at once, a caller leaves `ids` out, which means all. */
const idsMax = 1_000

const Ids = Schema.Array(DeadLetterId).check(Schema.isBetweenLength(1, idsMax))

const DeadLetterList = Schema.Struct({
  items: Schema.Array(DeadLetter),
  next: Schema.Null,
  total: Schema.Int.annotate({ description: "How many there are in total, including those not listed" })
}).annotate({ identifier: "DeadLetterList" })

const Changed = Schema.Struct({
  ids: Schema.Array(Schema.String).annotate({ description: "The ids that were found; the others did not exist" })
}).annotate({ identifier: "DeadLettersChanged" })

const errors = [DeadLettersUnavailable, StorageUnavailable] as const

export const deadLetterOperations = [
  Operation.get("DeadLetters", "List", "/dead-letters", {
    scope: "manage",
    reach: "fleet",
    summary: "List dead letters",
    description:
      "Incoming messages that could not be handled, the oldest first, and why. Reading them changes nothing.",
    query: { limit: Schema.optionalKey(PageLimit) },
    success: DeadLetterList,
    example: { items: [deadLetter], next: null, total: 1 },
    errors
  }),
  Operation.post("DeadLetters", "Retry", "/dead-letters/retry", {
    scope: "manage",
    reach: "fleet",
    summary: "Try dead letters again",
    description:
      "Returns them to the queue that they came from, to be handled again from the first attempt. Without `ids` all " +
      "of them, up to 10,000. A handler that has handled one before does not handle it again.",
    body: { ids: Schema.optionalKey(Ids) },
    bodyExample: { ids: [deadLetter.id] },
    success: Changed,
    example: { ids: [deadLetter.id] },
    errors
  }),
  Operation.post("DeadLetters", "Drop", "/dead-letters/drop", {
    scope: "manage",
    reach: "fleet",
    summary: "Drop dead letters",
    description: "They are no longer handled. Their events stay in the log.",
    body: { ids: Ids },
    bodyExample: { ids: [deadLetter.id] },
    success: Changed,
    example: { ids: [deadLetter.id] },
    errors
  })
] as const
