/**
 * Stored messages that Columba sends. Each change of a state is one compare-and-set; the outcome of a send is written
 * by the log, in the transaction of its events (effect `Send`). All times are the database's.
 */
import { Context, Duration } from "effect"
import type { Effect, Stream } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId, MessageId, Timestamp } from "../domain/Ids.ts"
import type { OnUnknown, SendBody, SendReason, SendState } from "../domain/Send.ts"
import type { Sent } from "./SendPacing.ts"
import type { IdempotencyKeyReused } from "../domain/SendErrors.ts"
import type { FilesInUse } from "./OutgoingFiles.ts"

export interface NewSend {
  readonly id: MessageId
  readonly deviceId: DeviceId
  /** Canonical. */
  readonly chat: string
  /** The account, if it is known. */
  readonly sender: string
  readonly body: SendBody
  readonly onUnknown: OnUnknown
  readonly scheduledAt: Timestamp | null
  /** How long after its time it may still be sent. */
  readonly grace: Duration.Duration
  /** `digest`: 32 hex digits over all that the request asked for. */
  readonly idempotency: { readonly key: string; readonly digest: string } | null
}

export interface StoredSend {
  readonly id: MessageId
  readonly deviceId: DeviceId
  readonly chat: string
  readonly sender: string
  readonly body: SendBody
  readonly state: SendState
  readonly onUnknown: OnUnknown
  readonly scheduledAt: Timestamp | null
  readonly expiresAt: Timestamp
  readonly attempts: number
  /** When it was last claimed. */
  readonly claimedAt: Timestamp | null
  readonly waId: string | null
  readonly reason: SendReason | null
  readonly detail: string | null
  readonly createdAt: Timestamp
  readonly updatedAt: Timestamp
}

export interface ClaimedSend extends StoredSend {
  readonly epoch: number
  /** The gateway has recently refused this recipient. */
  readonly limited: boolean
}

/** Milliseconds, by the database's clock. */
export interface SentLately {
  readonly now: number
  /** When the device was added. */
  readonly createdAt: number
  /** Oldest first; those of one millisecond in the order in which they were accepted. */
  readonly sent: ReadonlyArray<Sent>
  /** How many messages of the device are pending; counted up to `waitingMax`. */
  readonly waiting: number
}

/** Above this number the exact count makes no difference to a person. */
export const waitingMax = 10_000

/** Reasons of failures before which no request was made. */
export const unasked: ReadonlyArray<SendReason> = [
  "reach-out-pause",
  "unsupported",
  "file-lost",
  "file-invalid",
  "file-unavailable"
]

/** The changes of a sweep over all sends, and the outcomes still to be reported. */
export interface SendSweep {
  /** Devices of which some are due now. */
  readonly due: ReadonlyArray<DeviceId>
  /** Ended by a statement, and not reported yet. */
  readonly untold: ReadonlyArray<StoredSend>
  /** Whether any message is still to end: otherwise nothing changes by itself. */
  readonly active: boolean
}

/**
 * Maximum number of messages in doubt that are looked for; the oldest beyond it are not, because no report of them has
 * come for long.
 */
export const doubtfulMax = 500

/** Longer than the answer to a claim is awaited. */
export const heldAfter = Duration.seconds(30)

/** For this time an idempotency key stands for the same message. */
export const idempotencyHours = 24

/** The common answer to the first request and to every repeat. */
export interface Accepted {
  readonly send: StoredSend
  readonly repeated: boolean
}

export class SendRepository extends Context.Service<SendRepository, {
  /**
   * Stores it, once per device and key. A repeat gets the message of the key, as it was accepted. `scheduled` if its
   * time is still to come, otherwise `pending`.
   */
  readonly accept: (send: NewSend) => Effect.Effect<Accepted, IdempotencyKeyReused | StorageUnavailable>

  /** By its id, or by the message id derived from its WhatsApp id. Null: there is none, or not for this caller. */
  readonly find: (id: MessageId, visible?: VisibleDevices) => Effect.Effect<StoredSend | null, StorageUnavailable>

  /** Sets it to `cancelled`, if it waits and is not over its time. Returns its current state. Null: there is none. */
  readonly cancel: (
    id: MessageId,
    visible?: VisibleDevices
  ) => Effect.Effect<{ readonly done: boolean; readonly send: StoredSend } | null, StorageUnavailable>

  /**
   * Moves the device's oldest due message, of a chat with none in progress, to `sending`. Null if there is none, or
   * `epoch` is not that of the device's owner. One call per device at a time keeps the order. Chats in `resting` are
   * skipped.
   */
  readonly claim: (
    device: DeviceId,
    epoch: number,
    resting?: ReadonlyArray<string>
  ) => Effect.Effect<ClaimedSend | null, StorageUnavailable>

  /**
   * The messages that the device sent to its gateway in the last `millis`, oldest first, at most `perDayMax`: all
   * except those known not to be sent. Null: there is no such device.
   */
  readonly pace: (device: DeviceId, millis: number) => Effect.Effect<SentLately | null, StorageUnavailable>

  /**
   * The message's file is here, and its request is about to begin. False: the device has another owner by now, and
   * nothing may be sent. Only for a message whose file is fetched: until then its claim proves that it was not sent.
   */
  readonly begin: (
    claimed: Pick<ClaimedSend, "id" | "deviceId" | "epoch">
  ) => Effect.Effect<boolean, StorageUnavailable>

  /** Back to `pending`: it was not sent. Only under the epoch of its claim. `why`: null if nothing has failed. */
  readonly release: (
    claimed: Pick<ClaimedSend, "id" | "epoch">,
    why: { readonly reason: SendReason; readonly detail: string } | null
  ) => Effect.Effect<void, StorageUnavailable>

  /**
   * Messages claimed under the current epochs of their devices, so long ago that no answer to a claim is still
   * awaited. At most 500.
   */
  readonly held: Effect.Effect<ReadonlyArray<Pick<ClaimedSend, "id" | "deviceId" | "epoch">>, StorageUnavailable>

  /** From `unknown` to `pending`: it is proven that it was not sent, and the request asked for a retry. */
  readonly retry: (id: MessageId) => Effect.Effect<void, StorageUnavailable>

  /** The devices with pending messages. */
  readonly waiting: Effect.Effect<ReadonlyArray<DeviceId>, StorageUnavailable>

  /**
   * Makes scheduled messages due, ends those over their time, and puts into doubt those that a former owner of the
   * device had claimed; a message whose file that owner was still fetching becomes due again.
   */
  readonly sweep: Effect.Effect<SendSweep, StorageUnavailable>

  /**
   * Messages in doubt for at most a day, with the age of each claim in milliseconds: the newest `doubtfulMax`, of
   * these the oldest first.
   */
  readonly doubtful: Effect.Effect<
    ReadonlyArray<{ readonly send: StoredSend; readonly age: number }>,
    StorageUnavailable
  >

  /** The uploaded files that messages may still be sent with. */
  readonly filesInUse: Effect.Effect<FilesInUse, StorageUnavailable>

  /**
   * The message of the key, as `accept` would return it; null if it would store a new message. For a request that
   * cannot be checked again as it was at first.
   */
  readonly repeated: (
    device: DeviceId,
    idempotency: { readonly key: string; readonly digest: string }
  ) => Effect.Effect<StoredSend | null, IdempotencyKeyReused | StorageUnavailable>

  /** Which of these WhatsApp ids belong to messages that Columba has sent. */
  readonly linked: (
    device: DeviceId,
    waIds: ReadonlyArray<string>
  ) => Effect.Effect<ReadonlySet<string>, StorageUnavailable>

  /** The devices that may have pending messages; null at first and when notices may have been lost. */
  readonly changes: Stream.Stream<DeviceId | null>

  /** Deletes those that ended longer ago than `keep`. Returns how many. */
  readonly deleteOlderThan: (keep: Duration.Duration) => Effect.Effect<number, StorageUnavailable>
}>()("columba/services/SendRepository") {}

/** The message as it was accepted. */
export const asAccepted = (send: StoredSend): StoredSend => ({
  ...send,
  state: send.scheduledAt !== null && Date.parse(send.scheduledAt) > Date.parse(send.createdAt)
    ? "scheduled"
    : "pending",
  attempts: 0,
  claimedAt: null,
  waId: null,
  reason: null,
  detail: null,
  updatedAt: send.createdAt
})
