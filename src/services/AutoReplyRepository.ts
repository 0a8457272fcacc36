/** How devices answer by a language model, and what they have answered. Times are the database's. */
import { Context } from "effect"
import type { Effect } from "effect"
import type { AutoReply, AutoReplyChange } from "../domain/AutoReply.ts"
import type { DeviceNotFound, StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"

/** The idempotency key of an answer begins so, and ends with the event's id: an event has one answer. */
export const replyKeyPrefix = "auto-reply:"

export class AutoReplyRepository extends Context.Service<AutoReplyRepository, {
  /** Of a device without any, how every device has it at first. */
  readonly get: (device: DeviceId) => Effect.Effect<AutoReply, DeviceNotFound | StorageUnavailable>
  /** What is left out stays. */
  readonly edit: (
    device: DeviceId,
    change: AutoReplyChange
  ) => Effect.Effect<AutoReply, DeviceNotFound | StorageUnavailable>
  /** How long ago answers to the chat within the last day were accepted, in milliseconds, the newest first. */
  readonly answers: (device: DeviceId, chat: string) => Effect.Effect<ReadonlyArray<number>, StorageUnavailable>
  /** Until the end of the transaction that it is called in, nobody else answers this chat. */
  readonly lock: (device: DeviceId, chat: string) => Effect.Effect<void, StorageUnavailable>
}>()("columba/services/AutoReplyRepository") {}
