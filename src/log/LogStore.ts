/**
 * The port under the log: writes one batch in one transaction, and reads. How batches come to be, how many wait and
 * what happens when the store is away is the business of `GroupCommit`, which is the same over every store.
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

/** A draft made ready for a store: serialised once, its keys computed, no character in it that a text column refuses. */
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
  /** Null where nothing can repeat it. */
  readonly key: string | null
  readonly keyParts: KeyParts | null
  /** Null where nothing can conflict with it. */
  readonly content: string | null
  /** Set for a message: its key, which is also the key of its status. */
  readonly message: string | null
  /** The chat that the event belongs to, where it belongs to one. */
  readonly chat: string | null
  readonly effects: ReadonlyArray<LogEffect>
  readonly aliases: ReadonlyArray<Alias>
  /** What it weighs in a queue: `dataBytes`, and a share for the objects around it. */
  readonly bytes: number
}

/** What is committed together or not at all. Without drafts it is effects alone. */
export interface PreparedGroup {
  readonly drafts: ReadonlyArray<PreparedDraft>
  /** Set on a decision: the group is refused as `Fenced` if the device's epoch is another one. */
  readonly fence: Fence | null
  /** Beyond those of the drafts. */
  readonly effects: ReadonlyArray<LogEffect>
}

export interface WriteBatch {
  readonly groups: ReadonlyArray<PreparedGroup>
  readonly moves: ReadonlyArray<CursorMove>
  /**
   * The head that was known when these drafts were first sent. An earlier attempt whose outcome is unknown can only
   * have been committed above it, so their ids are looked for there alone.
   */
  readonly floor: number
  /** The newest event that is known by its id; 0 for none. The answer says which event has its number now. */
  readonly anchor: number
}

export interface CursorMove {
  readonly sink: string
  readonly epoch: number
  readonly seq: number
  /** The event of that number, where the reader knows it. */
  readonly id: EventId | null
}

/**
 * What became of one draft. `Committed` also answers a repeated write of the same event id, with the number it got the
 * first time. `Conflict`: its key is known with other content. `Fenced`: its group's fence is stale. Nothing was written of
 * these two.
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
  /** The event that had the number `anchor` before this batch; null where the log had none, or kept it no longer. */
  readonly anchorId: EventId | null
  readonly recordedAt: string
  /** Moves that were refused (see `EventLog.moveCursor`), as indexes into the batch's moves. */
  readonly lost: ReadonlyArray<number>
  /** Groups whose fence is stale, as indexes into the batch's groups. */
  readonly refused: ReadonlyArray<number>
  /** Acks of messages that Columba has sent: by index of the draft, the message id that stands in their data instead. */
  readonly named: ReadonlyMap<number, string>
}

/**
 * 4 MiB: the largest page, whatever was asked for, since a thousand events of a megabyte would take all memory. A page
 * of one event always gets through.
 */
export const pageBytesMax = 4 * 1024 * 1024

export interface StoredPage extends Omit<LogBounds, "headId"> {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
  readonly throughId: EventId | null
  /** The event of the number `after`; null where the log has none, or keeps it no longer. */
  readonly afterId: EventId | null
  /** The event of the number `anchor`; null where the log has none, or keeps it no longer. */
  readonly anchorId: EventId | null
}

export class LogStore extends Context.Service<LogStore, {
  /**
   * All or nothing, in one transaction. Repeating a write whose outcome is unknown is safe, with the same floor: event
   * ids are unique above it, and a known one answers with its number. `BatchRefused`: the store will never take this
   * batch as it is. `FloorAboveHead`: the log went back; nothing was written, of this batch or of an earlier attempt.
   */
  readonly write: (batch: WriteBatch) => Effect.Effect<WriteResult, StorageUnavailable | BatchRefused | FloorAboveHead>

  /**
   * As `EventLog.read`, all in one snapshot; beyond the head it answers with an empty page. A page ends with the event
   * that brings its data to `bytesMax`.
   */
  readonly read: (
    options: EventFilter & {
      readonly after: number
      readonly limit: number
      readonly bytesMax: number
      /** A number whose event the caller knows: by its id a log that went back and grew again is recognised. */
      readonly anchor: number
    }
  ) => Effect.Effect<StoredPage, StorageUnavailable | EventsExpired>

  readonly latest: (
    options: EventFilter & {
      readonly limit: number
    }
  ) => Effect.Effect<ReadonlyArray<LoggedEvent>, StorageUnavailable>

  readonly bounds: Effect.Effect<LogBounds, StorageUnavailable>

  /** The epoch of the newest claim of a sink's cursor; null where it has none. */
  readonly cursorEpoch: (sink: string) => Effect.Effect<number | null, StorageUnavailable>

  /**
   * Claims a cursor that still has the epoch `known`, or with null none yet, and answers null where that is not so. `start`
   * as in `EventLog.claimCursor`: where a new cursor begins, and how long retention waits for it from now on. Null: a
   * cursor that exists keeps what it has, and none is made.
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

  /** As `EventLog.mergeIdentities`. */
  readonly mergeIdentities: Effect.Effect<number, StorageUnavailable>

  /** As `EventLog.eraseChat`; with a null chat as `EventLog.eraseDevice`. */
  readonly erase: (device: DeviceId, chat: string | null) => Effect.Effect<number, StorageUnavailable>

  /**
   * The head as commits of any process move it; null when commits may have been missed and the head must be asked for;
   * `erased` when committed events have been changed. Empty for a store that only this process can write to.
   */
  readonly commits: Stream.Stream<number | "erased" | null>

  /** Whether other processes may write too, so that the head must be asked for now and then. */
  readonly shared: boolean
}>()("columba/services/LogStore") {}

/** The data itself is what the store refuses. Repeating will not help; without the offending draft the rest will pass. */
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
