/** The operations on messages: reads of what the log has recorded. */
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Message } from "../domain/Message.ts"
import { CursorInvalid, MessageNotFound } from "../domain/MessageErrors.ts"
import { message } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { ListMessagesFields, MessageIdField, MessagePage } from "./Payloads.ts"

export const messageOperations = [
  Operation.get("Messages", "List", "/messages", {
    scope: "read",
    reach: "filter",
    summary: "List messages",
    description: "A page of messages, newest first by the time they were recorded.",
    query: ListMessagesFields,
    success: MessagePage,
    example: { items: [message], next: null },
    errors: [CursorInvalid, StorageUnavailable]
  }),
  Operation.get("Messages", "Get", "/messages/:id", {
    scope: "read",
    reach: "filter",
    summary: "Get a message",
    description: "The message, with the furthest status that its acks have reported.",
    params: MessageIdField,
    success: Message,
    example: message,
    errors: [MessageNotFound, StorageUnavailable]
  })
] as const
