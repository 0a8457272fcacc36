/**
 * The log: an append-only, ordered, durable record of what happened, and the only way facts enter Columba.
 *
 * Appends of all devices are committed in groups, each group one transaction: events, message statuses, device states
 * and sink cursors together. Numbers are assigned in commit order and without holes, so a reader that has seen `n` and
 * asks for the events after it can neither skip nor repeat.
 *
 * Elsewhere: the writing itself (`LogStore`) and the readers (`SinkRelay`, the HTTP and RPC streams).
 */
import { Context, Schema } from "effect"
import type { Duration, Effect, Stream } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { EventDraft, LoggedEvent } from "../domain/Event.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { EventsExpired, LogReset } from "../domain/MessageErrors.ts"
import type { DeviceId, EventId } from "../domain/Ids.ts"
import type { LogEffect } from "./LogEffect.ts"

/** The result for one draft. A duplicate was in the log before: `seq` is null, nothing was written. */
export type Appended =
  | { readonly _tag: "Committed"; readonly seq: number }
  | { readonly _tag: "Duplicate" }

/** A reader's own conditions. Absent means all. At most 32 kinds. */
export interface EventFilter {
  readonly device?: DeviceId | undefined
  /** The devices that the reader may see. */
  readonly visible?: VisibleDevices
  readonly kinds?: ReadonlyArray<string> | undefined
  /** Kinds that the reader may not see, whatever it asks for. They are rare, so they are read and filtered out. */
  readonly hidden?: ReadonlyArray<string> | undefined
}

/**
 * The answer to a read. `through` is the last number that was examined, matching or not: the next read begins after
 * it, and an idle reader can report to its client how far it has everything.
 */
export interface EventPage {
  readonly events: ReadonlyArray<LoggedEvent>
  readonly through: number
  /** The event of that number; null if it was deleted, or there is none. */
  readonly throughId: EventId | null
}

/** Where a reader resumes: the last event that it has examined, from its position. */
export interface ReadFrom {
  readonly after: number
  /** Compared with the event of that number, if it is still kept (`LogReset`). */
  readonly mark?: string | null | undefined
}

/** The newest number and the oldest still kept; an empty log has head 0 and oldest 1. */
export interface LogBounds {
  readonly head: number
  /** The newest event; null in an empty log. */
  readonly headId: EventId | null
  readonly oldest: number
  /** Made when the log is created, and kept by copies of it: distinguishes a restored log from another one. */
  readonly logId: string
}

/** One sink's cursor as the log holds it. */
export interface SinkCursor {
  readonly sink: string
  readonly epoch: number
  readonly seq: number
  /** Events wait for this sink for a limited time only. */
  readonly limited: boolean
}

/** Maximum memory for one reader's events. */
export interface ReadBudget {
  /**
   * Called before each read, when the previous page has been released. Returns the bytes that the next page may have.
   */
  readonly take: () => number
  /** The size of the page in bytes; the surplus of the taken bytes is returned. */
  readonly settle: (bytes: number) => void
  /** One event is larger than the taken bytes, and was discarded: returns once there is room for it. */
  readonly require: (bytes: number) => Effect.Effect<void>
}

/** The outcome of a round of retention. `elapsed`: the time since the last one, by the database's clock. */
export type Deletion =
  | { readonly _tag: "Deleted"; readonly count: number }
  | { readonly _tag: "Refused"; readonly elapsed: Duration.Duration }

/**
 * The right to move one sink's cursor. A newer claim ends an older one: moves of the older claim change nothing and
 * fail.
 */
export interface CursorClaim {
  readonly sink: string
  readonly epoch: number
  readonly seq: number
  /**
   * The generation of the log that the numbers belong to, as this process has recorded it: passed to `follow`, it
   * detects that the log went back.
   */
  readonly generation: number
}

/**
 * The epoch under which a decision about a device is made. A newer claim of the device (`DeviceRepository.claim`) makes
 * it stale. Facts (messages, acks, rejected frames) carry none: they are true no matter which process reports them. Only rows of a
 * history do, because a row that is new to the device's owner reveals that it has missed something.
 */
export interface Fence {
  readonly deviceId: DeviceId
  readonly epoch: number
}

/** Maximum size of one `append`, which is one transaction and no larger than a batch. As many effects as events. */
export const groupEventsMax = 500
export const groupBytesMax = 4 * 1024 * 1024

export class EventLog extends Context.Service<EventLog, {
  /**
   * Commits these drafts as one group, in this order, and each device's drafts after its earlier ones. Returns once
   * they are on disk, one result per draft. Waits while the log is over its bound or the database is unavailable;
   * interruption before the batch was claimed withdraws them. With a stale fence nothing is written and the call fails
   * with `Fenced`. `effects` are applied in the same transaction, besides those that follow from the drafts; they may
   * come without any draft. A draft that conflicts with a known identity is kept as `frame.rejected` in the
   * transaction that follows.
   */
  readonly append: (
    drafts: ReadonlyArray<EventDraft>,
    options?: { readonly fence?: Fence | undefined; readonly effects?: ReadonlyArray<LogEffect> | undefined }
  ) => Effect.Effect<ReadonlyArray<Appended>, Fenced | GroupTooLarge>

  /**
   * The hot path: accepts one draft without waiting, from a socket callback. The draft is always accepted; `false`
   * means that the log is over its bound and that the caller must stop reading now and listen to `onRoom`. The excess
   * is limited to what the caller's socket had already read. If the store refuses the draft because its fence is
   * stale, `onFenced` is called once and the draft is dropped. A patient draft, for which nobody waits, may be written
   * some ten milliseconds later if nothing else is to be written, with others of its kind.
   */
  readonly push: (
    draft: EventDraft,
    decider?: { readonly fence: Fence; readonly patient?: boolean; onFenced(): void }
  ) => boolean

  /**
   * Whether the log is within its bound and nobody waits for room: a draft appended now waits for the database alone.
   */
  readonly hasRoom: () => boolean

  /** As `push`, for effects that belong to no draft. At most `groupEventsMax` of them. */
  readonly pushEffects: (
    effects: ReadonlyArray<LogEffect>,
    options: { readonly fence: Fence; readonly patient?: boolean; readonly onFenced: () => void }
  ) => void

  /** Calls back once, when there is room again; at once if there is. Returns a function that withdraws the callback. */
  readonly onRoom: (resume: () => void) => () => void

  /** Everything passed to `append` or `push` before this call is committed when it returns. */
  readonly flush: Effect.Effect<void>

  /**
   * Events after `after`, in order, at most `limit` (1-1000) and some megabytes, at least one. Fails with
   * `EventsExpired` if retention has removed some of them, and with `LogReset` if `after` is beyond the head, its
   * event is not the marked one, or the log is found to have gone back.
   */
  readonly read: (
    options: EventFilter & ReadFrom & {
      readonly limit: number
      /** Maximum number of bytes of data, or one event. */
      readonly bytesMax?: number | undefined
    }
  ) => Effect.Effect<EventPage, StorageUnavailable | EventsExpired | LogReset>

  /** Fails where `read` would, and reads nothing. */
  readonly locate: (from: ReadFrom) => Effect.Effect<void, StorageUnavailable | EventsExpired | LogReset>

  /**
   * Replay after `after`, then live, without hole or double at the switch: one loop of reads, woken by commits. Ends
   * only with its consumer or an error; `LogReset` ends every stream that is open when the log goes back. A page with
   * no events is a heartbeat: `through` is the watermark. With a budget, pages are limited to it. With the generation
   * of the claim that `after` is based on, a log that went back while nothing was read is detected too.
   */
  readonly follow: (
    options: EventFilter & ReadFrom & {
      readonly budget?: ReadBudget | undefined
      readonly generation?: number | undefined
    }
  ) => Stream.Stream<
    EventPage,
    StorageUnavailable | EventsExpired | LogReset
  >

  /**
   * As `follow`, for a reader that wakes up for each commit: passes one page after the other to `take`, and costs less
   * per page than a stream. Ends only with an error.
   */
  readonly followEach: <E>(
    options: EventFilter & ReadFrom & { readonly generation?: number | undefined },
    take: (page: EventPage) => Effect.Effect<void, E>
  ) => Effect.Effect<never, E | StorageUnavailable | EventsExpired | LogReset>

  /** The newest events that match, newest first, at most `limit` (1-1000). For explanations, not for readers. */
  readonly latest: (
    options: EventFilter & {
      readonly limit: number
    }
  ) => Effect.Effect<ReadonlyArray<LoggedEvent>, StorageUnavailable>

  readonly bounds: Effect.Effect<LogBounds, StorageUnavailable>

  /**
   * Takes over a sink's cursor; a new sink starts at `from`: the beginning, or only new events. A claim whose answer
   * was lost is repeated by its caller, and does not end a claim made after it, however late it is carried out. A
   * cursor beyond the head, which only a log that went back can have, starts at the head. Retention waits for the sink
   * without limit, or with `keep` only for events that were recorded within that time.
   */
  readonly claimCursor: (
    sink: string,
    from: "beginning" | "now",
    keep?: Duration.Duration | null
  ) => Effect.Effect<CursorClaim, StorageUnavailable>

  /**
   * The same for a sink that has a cursor, and null for one that has none: it was deleted, and must not be created
   * again.
   */
  readonly resumeCursor: (sink: string) => Effect.Effect<CursorClaim | null, StorageUnavailable>

  /** As `CursorClaim.generation`, now. */
  readonly generation: () => number

  /**
   * Moves the cursor with the next batch (or alone after a short idle time). Never backwards. Returns when it is
   * durable; fails with `CursorLost` when a newer claim holds it, when its row was deleted, or when `seq` is not in
   * the log: beyond the head, or with `id`, the number of another event.
   */
  readonly moveCursor: (claim: CursorClaim, seq: number, id?: EventId | null) => Effect.Effect<void, CursorLost>

  /** Every sink and the last number it has confirmed. */
  readonly cursors: Effect.Effect<ReadonlyArray<SinkCursor>, StorageUnavailable>

  /**
   * Deletes events older than `keep` by the database's clock, with their messages, statuses and identities; none that
   * a sink has not confirmed (unless the sink is limited, and its limit is over), and never the newest. An identity
   * stays at least as long as its event. Deletes nothing and returns `Refused` if more time than `stepMax` seems to
   * have passed since the last round.
   */
  readonly deleteOlderThan: (
    keep: Duration.Duration,
    options: { readonly stepMax: Duration.Duration }
  ) => Effect.Effect<Deletion, StorageUnavailable>

  /**
   * Merges the parts in which the log finds repeats into fewer and larger ones, if there is something to merge, so
   * that an append costs about the same however long the log is. Appends continue meanwhile. If it is interrupted, the
   * next call resumes it. Returns how many merges were completed.
   */
  readonly mergeIdentities: Effect.Effect<number, StorageUnavailable>

  /**
   * Erases what the log holds of one chat of a device, under both spellings of the account: its messages, acks and
   * actions, and rejected frames and gateway events that name it. Each becomes an `event.erased` with its number; the
   * message, its status and the digest of its text are deleted. Identities stay, so a repeat does not bring a message
   * back; the pair of the account's two spellings does too, until retention deletes it, unless a remaining event names
   * it. Events that sinks have delivered before are not erased. Returns how many events were erased.
   */
  readonly eraseChat: (device: DeviceId, chat: string) => Effect.Effect<number, StorageUnavailable>

  /**
   * The same for everything of a device except its own transitions. Its account's address and phone number are
   * removed, also from transitions.
   */
  readonly eraseDevice: (device: DeviceId) => Effect.Effect<number, StorageUnavailable>
}>()("columba/services/EventLog") {}

/** The claim no longer holds the sink's cursor: its holder must stop, or claim the cursor anew. */
export class CursorLost extends Schema.TaggedError<CursorLost>()("CursorLost", {
  message: Schema.String,
  sink: Schema.String,
  epoch: Schema.Int
}) {
  static of(sink: string, epoch: number): CursorLost {
    return new CursorLost({
      sink,
      epoch,
      message: `The claim of sink '${sink}' with epoch ${epoch} no longer holds its cursor`
    })
  }
}

/** Another process has claimed the device since: the holder of the old epoch must stop acting for it. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", {
  message: Schema.String,
  deviceId: Schema.String,
  epoch: Schema.Int
}) {
  static of(fence: Fence): Fenced {
    const message = `Device ${fence.deviceId} was claimed by another owner after epoch ${fence.epoch}`
    return new Fenced({ deviceId: fence.deviceId, epoch: fence.epoch, message })
  }
}

/** A group exceeds the maximum size of one transaction. The caller must split it. */
export class GroupTooLarge extends Schema.TaggedError<GroupTooLarge>()("GroupTooLarge", {
  message: Schema.String
}) {
  static of(size: string): GroupTooLarge {
    return new GroupTooLarge({
      message:
        `A group of ${size} is more than one transaction holds (${groupEventsMax} events, ${groupBytesMax} bytes)`
    })
  }
}
