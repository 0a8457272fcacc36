/**
 * Appends rows of a history as facts: in groups that fit into one transaction, halved if their texts are too long for one.
 * They need no claim on the device: the gateway's stored messages are facts, whichever process reads them.
 */
import { Effect } from "effect"
import type { EventDraft } from "../../domain/Event.ts"
import { groupEventsMax } from "../../services/EventLog.ts"
import type { Appended, EventLog } from "../../services/EventLog.ts"

export const appendFacts = (
  log: EventLog["Service"],
  drafts: ReadonlyArray<EventDraft>
): Effect.Effect<ReadonlyArray<Appended>> => {
  if (drafts.length === 0) return Effect.succeed([])
  if (drafts.length > groupEventsMax) return appendHalves(log, drafts)
  return Effect.catchTags(log.append(drafts), { GroupTooLarge: () => appendHalves(log, drafts), Fenced: Effect.die })
}

const appendHalves = (
  log: EventLog["Service"],
  drafts: ReadonlyArray<EventDraft>
): Effect.Effect<ReadonlyArray<Appended>> => {
  const middle = drafts.length >> 1
  return Effect.zipWith(
    appendFacts(log, drafts.slice(0, middle)),
    appendFacts(log, drafts.slice(middle)),
    (first, second) => [...first, ...second]
  )
}
