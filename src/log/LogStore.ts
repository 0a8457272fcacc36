/**
 * The port under the log: writes one batch in one transaction, and reads. How batches come to be, how many wait and
 * what happens when the store is away is the business of `GroupCommit`, which is the same over every store.
 */
import { Context } from "effect"
import type { Effect, Stream } from "effect"
import { Schema } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Alias, EventKind, LoggedEvent, Via } from "../domain/Event.ts"
import type { EventsExpired } from "../domain/MessageErrors.ts"
import type { DeviceId, EventId, MessageId } from "../domain/Ids.ts"
import type { MessageStatus } from "../domain/Message.ts"
import type { CursorClaim, EventFilter, Fence, LogBounds, SinkCursor } from "../services/EventLog.ts"
import type { KeyParts } from "./EventKey.ts"

/** What a draft changes besides being recorded. */
export type Projection =
  | {
    readonly _tag: "Message"
    readonly id: MessageId
    readonly direction: "in" | "out"
    readonly waId: string
    readonly chat: string
    readonly sender: string
    readonly type: string
    readonly body: string | null
  }
  | {
    readonly _tag: "Ack"
    readonly messageId: MessageId
    readonly participant: string
    readonly status: MessageStatus
  }
  | {
    readonly _tag: "State"
    /** JSON text of the state. */
    readonly state: string
    readonly tag: string
    readonly jid: string | null
    readonly phone: string | null
  }

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
  readonly projection: Projection | null
  readonly aliases: ReadonlyArray<Alias>
  /** Set on a decision: the draft is refused as `Fenced` if the device's epoch is another one. */
  readonly fence: Fence | null
  /** What it weighs in a queue: `dataBytes`, and a share for the objects around it. */
  readonly bytes: number
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
 * first time. `Conflict`: its key is known with other content. `Fenced`: its fence is stale. Nothing was written of
 * these two.
 */
export type Written =
  | { readonly _tag: "Committed"; readonly seq: number; readonly fresh: boolean }
  | { readonly _tag: "Duplicate" }
  | { readonly _tag: "Conflict" }
  | { readonly _tag: "Fenced" }

export interface WriteResult {
  /** One a draft. */
  readonly written: ReadonlyArray<Written>
  /** The last number after this batch. */
  readonly head: number
  readonly oldest: number
  readonly logId: string
  readonly recordedAt: string
  /** Moves that were refused (see `EventLog.moveCursor`), as indexes into the batch's moves. */
  readonly lost: ReadonlyArray<number>
}

/**
 * 4 MiB: the largest page, whatever was asked for, since a thousand events of a megabyte would take all memory. A page
 * of one event always gets through.
 */
export const pageBytesMax = 4 * 1024 * 1024

export interface StoredPage extends LogBounds {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
  /** The event of the number `anchor`; null where the log has none, or keeps it no longer. */
  readonly anchorId: EventId | null
}

export class LogStore extends Context.Service<LogStore, {
  /**
   * All or nothing, in one transaction. Repeating a write whose outcome is unknown is safe: event ids are unique, and a
   * known one answers with its number. `BatchRefused`: the store will never take this batch as it is.
   */
  readonly write: (
    drafts: ReadonlyArray<PreparedDraft>,
    moves: ReadonlyArray<CursorMove>
  ) => Effect.Effect<WriteResult, StorageUnavailable | BatchRefused>

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

  readonly claimCursor: (
    sink: string,
    from: "beginning" | "now"
  ) => Effect.Effect<CursorClaim, StorageUnavailable>

  readonly cursors: Effect.Effect<ReadonlyArray<SinkCursor>, StorageUnavailable>

  readonly deleteBefore: (before: Date) => Effect.Effect<number, StorageUnavailable>

  /**
   * The head as commits of any process move it; null when commits may have been missed and the head must be asked for.
   * Empty for a store that only this process can write to.
   */
  readonly commits: Stream.Stream<number | null>

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
