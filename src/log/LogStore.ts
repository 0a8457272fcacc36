/**
 * The port under the log: writes one batch in one transaction, and reads. How batches are formed, how many wait and
 * what happens during an outage is up to `GroupCommit`, which is the same over every store.
 */
import { Context } from "effect"
import type { Duration, Effect, Stream } from "effect"
import { Schema } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Alias, EventKind, LoggedEvent } from "../domain/Event.ts"
import type { Via } from "../domain/Via.ts"
import type { EventsExpired } from "../domain/MessageErrors.ts"
import type { DeviceId, EventId } from "../domain/Ids.ts"
import type { CursorClaim, Deletion, EventFilter, Fence, LogBounds, SinkCursor } from "../services/EventLog.ts"
import type { KeyParts } from "../services/EventIdentity.ts"
import type { LogEffect } from "../services/LogEffect.ts"

/** A draft prepared for a store: serialised once, with its keys, and without characters that a text column refuses. */
export interface PreparedDraft {
  readonly id: EventId
  readonly kind: EventKind
  readonly deviceId: DeviceId
  readonly occurredAt: string
  readonly via: Via
  /** JSON text. */
  readonly data: string
  /** UTF-8 bytes of `data`. */
  readonly dataBytes: number
  /** Null for an event that cannot be repeated. */
  readonly key: string | null
  readonly keyParts: KeyParts | null
  /** Null for an event that cannot conflict. */
  readonly content: string | null
  /** Set for a message: its key, which is also the key of its status. */
  readonly message: string | null
  /** The chat that the event belongs to, where it belongs to one. */
  readonly chat: string | null
  readonly effects: ReadonlyArray<LogEffect>
  readonly aliases: ReadonlyArray<Alias>
  /** Its size in a queue: `dataBytes`, and a share for the objects around it. */
  readonly bytes: number
}

/** Drafts and effects that are committed together or not at all. There may be effects without drafts. */
export interface PreparedGroup {
  readonly drafts: ReadonlyArray<PreparedDraft>
  /** Set for a decision: the group is refused as `Fenced` if the device's epoch differs. */
  readonly fence: Fence | null
  /** In addition to the effects of the drafts. */
  readonly effects: ReadonlyArray<LogEffect>
}

export interface WriteBatch {
  readonly groups: ReadonlyArray<PreparedGroup>
  readonly moves: ReadonlyArray<CursorMove>
  /**
   * The head that was known when these drafts were first sent. An earlier attempt whose outcome is unknown can only
   * have been committed above it, so their ids are searched only there.
   */
  readonly floor: number
  /** The newest event that is known by its id; 0 for none. The answer contains the event that now has this number. */
  readonly anchor: number
}

export interface CursorMove {
  readonly sink: string
  readonly epoch: number
  readonly seq: number
  /** The event of that number, if the reader has its id. */
  readonly id: EventId | null
}

/**
 * The outcome of one draft. `Committed` is also the outcome of a repeated write of the same event id, with the number
 * of the first write. `Conflict`: its key is known with other content. `Fenced`: its group's fence is stale. In the
 * last two cases nothing was written.
 */
export type Written =
  | { readonly _tag: "Committed"; readonly seq: number; readonly fresh: boolean }
  | { readonly _tag: "Duplicate" }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Fenced" }

export interface WriteResult {
  /** One per draft, of all groups in order. */
  readonly written: ReadonlyArray<Written>
  /** The last number after this batch. */
  readonly head: number
  readonly oldest: number
  readonly logId: string
  /** The event that had the number `anchor` before this batch; null if there was none or it had been deleted. */
  readonly anchorId: EventId | null
  readonly recordedAt: string
  /** Moves that were refused (see `EventLog.moveCursor`), as indexes into the batch's moves. */
  readonly lost: ReadonlyArray<number>
  /** Groups whose fence is stale, as indexes into the batch's groups. */
  readonly refused: ReadonlyArray<number>
  /**
   * For acks of messages that Columba has sent: the message id that replaces the one in the ack's data, by index of the
   * draft.
   */
  readonly named: ReadonlyMap<number, string>
}

/**
 * 4 MiB: the largest page, whatever was requested, since a thousand events of a megabyte each would fill the memory. A
 * page of one event is always returned.
 */
export const pageBytesMax = 4 * 1024 * 1024

export interface StoredPage extends Omit<LogBounds, "headId"> {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
  readonly throughId: EventId | null
  /** The event of the number `after`; null if there is none or it has been deleted. */
  readonly afterId: EventId | null
  /** The event of the number `anchor`; null if there is none or it has been deleted. */
  readonly anchorId: EventId | null
}

export class LogStore extends Context.Service<LogStore, {
  /**
   * All or nothing, in one transaction. Repeating a write whose outcome is unknown is safe, with the same floor: event
   * ids are unique above it, and a known one returns its number. `BatchRefused`: the store will never accept this batch
   * as it is. `FloorAboveHead`: the log went back; nothing was written, of this batch or of an earlier attempt.
   */
  readonly write: (batch: WriteBatch) => Effect.Effect<WriteResult, StorageUnavailable | BatchRefused | FloorAboveHead>

  /**
   * As `EventLog.read`, all in one snapshot; beyond the head it returns an empty page. A page ends with the event that
   * brings its data to `bytesMax`.
   */
  readonly read: (
    options: EventFilter & {
      readonly after: number
      readonly limit: number
      readonly bytesMax: number
      /** A number whose event id the caller has: comparing the id detects a log that went back and grew again. */
      readonly anchor: number
    }
  ) => Effect.Effect<StoredPage, StorageUnavailable | EventsExpired>

  readonly latest: (
    options: EventFilter & {
      readonly limit: number
    }
  ) => Effect.Effect<ReadonlyArray<LoggedEvent>, StorageUnavailable>

  readonly bounds: Effect.Effect<LogBounds, StorageUnavailable>

  /** The epoch of the newest claim of a sink's cursor; null without one. */
  readonly cursorEpoch: (sink: string) => Effect.Effect<number | null, StorageUnavailable>

  /**
   * Claims a cursor whose epoch is still `known`, or null if it does not exist yet; returns null if that is not so.
   * `start` as in `EventLog.claimCursor`: where a new cursor begins, and how long retention waits for it from now on.
   * With `start` null, an existing cursor keeps its values, and a missing one is not created.
   */
  readonly claimCursor: (
    sink: string,
    known: number | null,
    start: { readonly from: "beginning" | "now"; readonly keep: Duration.Duration | null } | null
  ) => Effect.Effect<Omit<CursorClaim, "generation"> | null, StorageUnavailable>

  readonly cursors: Effect.Effect<ReadonlyArray<SinkCursor>, StorageUnavailable>

  /** As `EventLog.deleteOlderThan`. */
  readonly deleteOlderThan: (
    keep: Duration.Duration,
    options: { readonly stepMax: Duration.Duration }
  ) => Effect.Effect<Deletion, StorageUnavailable>

  /** The log turned out to be another one, or another copy: brings the database's schema up to date. */
  readonly renew: Effect.Effect<void>

  /** As `EventLog.mergeIdentities`. */
  readonly mergeIdentities: Effect.Effect<number, StorageUnavailable>

  /** As `EventLog.eraseChat`; with a null chat as `EventLog.eraseDevice`. */
  readonly erase: (device: DeviceId, chat: string | null) => Effect.Effect<number, StorageUnavailable>

  /**
   * The head after each commit of any process; null when commits may have been missed and the head must be requested;
   * `erased` when committed events have been changed. Empty for a store that only this process can write to.
   */
  readonly commits: Stream.Stream<number | "erased" | null>

  /** Whether other processes may write too, so that the head must be polled. */
  readonly shared: boolean
}>()("columba/services/LogStore") {}

/** The store refuses the data itself. Repeating does not help; without the offending draft the rest is accepted. */
export class BatchRefused extends Schema.TaggedError<BatchRefused>()("BatchRefused", {
  message: Schema.String
}) {
  static of(detail: string): BatchRefused {
    return new BatchRefused({ message: `The store refused a batch for its data: ${detail}` })
  }
}

/** The log's head is below the floor of a batch: an older database has taken the log's place. Nothing was written. */
export class FloorAboveHead extends Schema.TaggedError<FloorAboveHead>()("FloorAboveHead", {
  message: Schema.String,
  head: Schema.Int,
  oldest: Schema.Int,
  logId: Schema.String
}) {
  static of(bounds: Omit<LogBounds, "headId">): FloorAboveHead {
    return new FloorAboveHead({ ...bounds, message: `The log went back to ${bounds.head}` })
  }
}
