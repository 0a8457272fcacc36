/**
 * What the consumer has handled, what it tries again and what it has given up, per event and handler. The note that
 * something is handled is committed together with what the handler writes. Times are the database's.
 *
 * Where messages come from a broker's queue, the broker brings what has failed again, and a row is only the reason of
 * its last failure. Without a broker the rows are the queue of what is to be tried again, and the dead letters.
 */
import { Context } from "effect"
import type { Duration, Effect } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { EventId, Timestamp } from "../domain/Ids.ts"

/** One handler's work on one event. */
export interface InboxEntry {
  readonly handler: string
  readonly eventId: EventId
  readonly seq: number
}

export interface InboxFailure extends InboxEntry {
  readonly attempts: number
  readonly message: string
  readonly at: Timestamp
}

/** What becomes of a message that failed. */
export type Verdict =
  | { readonly _tag: "Again"; readonly after: Duration.Duration }
  | { readonly _tag: "Dead" }

export class MessageInbox extends Context.Service<MessageInbox, {
  readonly isDone: (handler: string, event: EventId) => Effect.Effect<boolean, StorageUnavailable>
  /**
   * Runs the commit in one transaction with the note; not at all where the note is there. Of two at the same time the
   * second waits for the first. Answers whether it ran.
   */
  readonly once: <E>(
    entry: InboxEntry,
    commit: Effect.Effect<void, E>
  ) => Effect.Effect<boolean, E | StorageUnavailable>
  /** Counts a failure, and decides by the count. `keep`: it is for us to try it again, or to hold the dead letter. */
  readonly fail: (
    entry: InboxEntry,
    failure: {
      readonly message: string
      readonly keep: boolean
      readonly decide: (attempts: number) => Verdict
    }
  ) => Effect.Effect<{ readonly attempts: number; readonly verdict: Verdict }, StorageUnavailable>
  /** What is to be tried again now, the oldest first. */
  readonly due: (limit: number) => Effect.Effect<ReadonlyArray<InboxEntry>, StorageUnavailable>
  /** The failures of these events, by event. */
  readonly failures: (
    events: ReadonlyArray<EventId>
  ) => Effect.Effect<ReadonlyArray<InboxFailure>, StorageUnavailable>
  /** Failures are counted from the beginning again. */
  readonly forgetFailures: (events: ReadonlyArray<EventId>) => Effect.Effect<void, StorageUnavailable>
  /** What was given up, the oldest first, and how many there are. */
  readonly dead: (
    limit: number
  ) => Effect.Effect<{ readonly items: ReadonlyArray<InboxFailure>; readonly total: number }, StorageUnavailable>
  /** Of what was given up, these or all: to be tried again, from the beginning. The events that were there. */
  readonly revive: (
    events: ReadonlyArray<EventId> | null
  ) => Effect.Effect<ReadonlyArray<EventId>, StorageUnavailable>
  /** Of what was given up, these are left for good. The events that were there. */
  readonly drop: (events: ReadonlyArray<EventId>) => Effect.Effect<ReadonlyArray<EventId>, StorageUnavailable>
  /** Deletes notes that are older. Returns how many. */
  readonly deleteOlderThan: (keep: Duration.Duration) => Effect.Effect<number, StorageUnavailable>
}>()("columba/services/MessageInbox") {}
