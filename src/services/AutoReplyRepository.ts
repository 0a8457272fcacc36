/** The settings of automatic answers per device, and the answers that were sent. Times are the database's. */
import { Context } from "effect"
import type { Effect } from "effect"
import type { AutoReply, AutoReplyChange } from "../domain/AutoReply.ts"
import type { DeviceNotFound, StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"

/** The idempotency key of an answer is this prefix and the event's id, so an event has one answer. */
export const replyKeyPrefix = "auto-reply:"

export class AutoReplyRepository extends Context.Service<AutoReplyRepository, {
  /** For a device without settings, the defaults. */
  readonly get: (device: DeviceId) => Effect.Effect<AutoReply, DeviceNotFound | StorageUnavailable>
  /** Omitted fields are unchanged. */
  readonly edit: (
    device: DeviceId,
    change: AutoReplyChange
  ) => Effect.Effect<AutoReply, DeviceNotFound | StorageUnavailable>
  /** The ages of the answers to the chat that were accepted within the last day, in milliseconds, the newest first. */
  readonly answers: (device: DeviceId, chat: string) => Effect.Effect<ReadonlyArray<number>, StorageUnavailable>
  /** Until the end of the calling transaction, no other process answers this chat. */
  readonly lock: (device: DeviceId, chat: string) => Effect.Effect<void, StorageUnavailable>
}>()("columba/services/AutoReplyRepository") {}
