/**
 * The consumer's records per event and handler: handled, to be retried, abandoned. The record that something is
 * handled is committed together with the handler's writes. Times are the database's.
 *
 * If messages come from a broker's queue, the broker delivers failed ones again, and a row is only the reason of its
 * last failure. Without a broker the rows are the queue of retries, and the dead letters.
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

/** The fate of a failed message. */
export type Verdict =
  | { readonly _tag: "Again"; readonly after: Duration.Duration }
  | { readonly _tag: "Dead" }

export class MessageInbox extends Context.Service<MessageInbox, {
  readonly isDone: (handler: string, event: EventId) => Effect.Effect<boolean, StorageUnavailable>
  /**
   * Runs the commit in one transaction with the record; not at all if the record exists. Of two concurrent calls the
   * second waits for the first. Returns whether it ran.
   */
  readonly once: <E>(
    entry: InboxEntry,
    commit: Effect.Effect<void, E>
  ) => Effect.Effect<boolean, E | StorageUnavailable>
  /** Counts a failure, and decides by the count. `keep`: the inbox retries it, or holds the dead letter. */
  readonly fail: (
    entry: InboxEntry,
    failure: {
      readonly message: string
      readonly keep: boolean
      readonly decide: (attempts: number) => Verdict
    }
  ) => Effect.Effect<{ readonly attempts: number; readonly verdict: Verdict }, StorageUnavailable>
  /** Messages to be retried now, the oldest first. */
  readonly due: (limit: number) => Effect.Effect<ReadonlyArray<InboxEntry>, StorageUnavailable>
  /** The failures of these events, by event. */
  readonly failures: (
    events: ReadonlyArray<EventId>
  ) => Effect.Effect<ReadonlyArray<InboxFailure>, StorageUnavailable>
  /** Resets the count of failures. */
  readonly forgetFailures: (events: ReadonlyArray<EventId>) => Effect.Effect<void, StorageUnavailable>
  /** The abandoned messages, the oldest first, and how many there are. */
  readonly dead: (
    limit: number
  ) => Effect.Effect<{ readonly items: ReadonlyArray<InboxFailure>; readonly total: number }, StorageUnavailable>
  /** Returns these or all abandoned messages to the queue, from the first attempt. Returns the found events. */
  readonly revive: (
    events: ReadonlyArray<EventId> | null
  ) => Effect.Effect<ReadonlyArray<EventId>, StorageUnavailable>
  /** Drops these abandoned messages for good. Returns the found events. */
  readonly drop: (events: ReadonlyArray<EventId>) => Effect.Effect<ReadonlyArray<EventId>, StorageUnavailable>
  /** Deletes older records. Returns how many. */
  readonly deleteOlderThan: (keep: Duration.Duration) => Effect.Effect<number, StorageUnavailable>
}>()("columba/services/MessageInbox") {}
