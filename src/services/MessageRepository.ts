/** Reads messages. Only the log writes them, in the transaction of their events. */
import { Context } from "effect"
import type { Effect } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { MessageData } from "../domain/EventData.ts"
import type { DeviceId, MessageId } from "../domain/Ids.ts"
import type { Message, MessageStatus } from "../domain/Message.ts"
import type { CursorInvalid, MessageNotFound } from "../domain/MessageErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Page } from "./DeviceRepository.ts"

export interface MessageContent {
  readonly deviceId: DeviceId
  readonly data: MessageData
}

export class MessageRepository extends Context.Service<MessageRepository, {
  /** `visible`: the devices that the caller may see; undefined for all. A message of another one is not found. */
  readonly get: (
    id: MessageId,
    visible?: VisibleDevices
  ) => Effect.Effect<Message, MessageNotFound | StorageUnavailable>

  /** The content from the event that brought the message. */
  readonly content: (
    id: MessageId,
    visible?: VisibleDevices
  ) => Effect.Effect<MessageContent, MessageNotFound | StorageUnavailable>

  /** Which of these are messages, at most 1000. */
  readonly known: (ids: ReadonlyArray<MessageId>) => Effect.Effect<ReadonlySet<MessageId>, StorageUnavailable>

  /**
   * Newest first by when Columba recorded it. `limit` 1-1000. A page may hold less than its limit, or nothing, and
   * still have a next one: rare matches are searched in bounded steps.
   */
  readonly list: (options: {
    readonly device?: DeviceId | undefined
    readonly chat?: string | undefined
    readonly status?: MessageStatus | undefined
    readonly waId?: string | undefined
    readonly visible?: VisibleDevices
    readonly limit: number
    readonly cursor?: string | undefined
  }) => Effect.Effect<Page<Message>, StorageUnavailable | CursorInvalid>
}>()("columba/services/MessageRepository") {}
