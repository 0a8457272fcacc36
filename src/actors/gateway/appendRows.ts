/**
 * Appends rows of a history in groups that fit into one transaction, halved if their texts are too long for one. Only the owner of the
 * device may: a row that it has not received reveals that it is deaf, and must not be in the log already because of a process that
 * has lost the device.
 */
import { Effect } from "effect"
import type { EventDraft } from "../../domain/Event.ts"
import { groupEventsMax } from "../../services/EventLog.ts"
import type { Appended, EventLog, Fence, Fenced } from "../../services/EventLog.ts"

export const appendRows = (
  log: EventLog["Service"],
  drafts: ReadonlyArray<EventDraft>,
  fence: Fence
): Effect.Effect<ReadonlyArray<Appended>, Fenced> => {
  if (drafts.length === 0) return Effect.succeed([])
  if (drafts.length > groupEventsMax) return appendHalves(log, drafts, fence)
  return Effect.catchTag(log.append(drafts, { fence }), "GroupTooLarge", () => appendHalves(log, drafts, fence))
}

const appendHalves = (
  log: EventLog["Service"],
  drafts: ReadonlyArray<EventDraft>,
  fence: Fence
): Effect.Effect<ReadonlyArray<Appended>, Fenced> => {
  const middle = drafts.length >> 1
  return Effect.zipWith(
    appendRows(log, drafts.slice(0, middle), fence),
    appendRows(log, drafts.slice(middle), fence),
    (first, second) => [...first, ...second]
  )
}
