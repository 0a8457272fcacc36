/** The operations on messages: reads of recorded messages, and sending. */
import { HttpApiSchema } from "effect/http-api"
import {
  DeviceNotFound,
  DeviceStateConflict,
  GatewayUnavailable,
  GatewayUnknown,
  StorageUnavailable
} from "../domain/DeviceErrors.ts"
import { GatewayUnusable } from "../domain/GatewayErrors.ts"
import { Message } from "../domain/Message.ts"
import { CursorInvalid, MessageNotFound } from "../domain/MessageErrors.ts"
import {
  ContentInvalid,
  ContentUnsupported,
  FileInvalid,
  FileNotFound,
  IdempotencyKeyReused,
  MessageNotCancellable,
  RecipientInvalid,
  ScheduleInvalid,
  UploadMisdirected,
  UploadRefused
} from "../domain/SendErrors.ts"
import { message, outgoing } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { ChatFields, DeviceIdField } from "./DevicePayloads.ts"
import {
  EditFields,
  IdempotencyField,
  ListMessagesFields,
  MessageIdField,
  MessagePage,
  ReactionFields,
  SendMessageFields,
  TypingFields
} from "./MessagePayloads.ts"

const unable = [
  DeviceNotFound,
  DeviceStateConflict,
  ContentUnsupported,
  GatewayUnknown,
  GatewayUnusable,
  StorageUnavailable
] as const

const actionErrors = [MessageNotFound, ContentInvalid, IdempotencyKeyReused, ...unable] as const

const signalErrors = [MessageNotFound, RecipientInvalid, ContentInvalid, GatewayUnavailable, ...unable] as const

const reaction = { ...outgoing, type: "reaction", body: "👍" }

export const messageOperations = [
  Operation.get("Messages", "List", "/messages", {
    scope: "read",
    reach: "filter",
    summary: "List messages",
    description:
      "A page of messages, newest first by the time they were recorded. Messages that Columba sends are listed by " +
      "when they were accepted, with their current status.",
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
  }),
  Operation.post("Messages", "Send", "/devices/:id/messages", {
    scope: "send",
    reach: "device",
    summary: "Send a message",
    description:
      "Accepts a message for sending: once the answer is 202, it is stored, and a crash does not lose it. It is " +
      "sent to the gateway once the device is online and its time has come, in order per chat, and expires 24 hours " +
      "after that time. Its progress is reported by events (`message.status`, `message.sent`, `message.ack`) and its " +
      "`status`. If no answer of the gateway comes, the status is `unknown` until the gateway's history shows the " +
      "outcome; it is not sent again unless `onUnknown` allows that. The file of a message is uploaded before " +
      "(`POST /devices/{id}/files`) or fetched from its `url` when the message is sent.",
    params: DeviceIdField,
    headers: IdempotencyField,
    body: SendMessageFields,
    bodyExample: { to: "6281298765432", text: "Yes, until six." },
    success: Message.pipe(HttpApiSchema.status(202)),
    example: outgoing,
    errors: [
      RecipientInvalid,
      ContentInvalid,
      ScheduleInvalid,
      DeviceNotFound,
      MessageNotFound,
      DeviceStateConflict,
      ContentUnsupported,
      FileInvalid,
      FileNotFound,
      UploadMisdirected,
      UploadRefused,
      IdempotencyKeyReused,
      GatewayUnknown,
      GatewayUnusable,
      StorageUnavailable
    ]
  }),
  Operation.post("Messages", "React", "/messages/:id/reaction", {
    scope: "send",
    reach: "filter",
    summary: "React to a message",
    description:
      "Reacts to a message with an emoji, in place of the account's earlier reaction; an empty one removes it. It is " +
      "accepted and sent as messages are, in order with those of the chat, and has an id and a status of its own.",
    params: MessageIdField,
    headers: IdempotencyField,
    body: ReactionFields,
    bodyExample: { emoji: "👍" },
    success: Message.pipe(HttpApiSchema.status(202)),
    example: reaction,
    errors: actionErrors
  }),
  Operation.post("Messages", "Edit", "/messages/:id/edit", {
    scope: "send",
    reach: "filter",
    summary: "Edit a message",
    description:
      "Replaces a text that this account has sent. WhatsApp accepts edits for about 15 minutes. The edit is accepted and " +
      "sent as messages are, and has an id and a status of its own.",
    params: MessageIdField,
    headers: IdempotencyField,
    body: EditFields,
    bodyExample: { text: "Yes, until seven." },
    success: Message.pipe(HttpApiSchema.status(202)),
    example: { ...outgoing, type: "edit", body: "Yes, until seven." },
    errors: actionErrors
  }),
  Operation.act("Messages", "Revoke", "/messages/:id/revoke", {
    scope: "send",
    reach: "filter",
    summary: "Revoke a message",
    description:
      "Deletes a message for everyone in the chat: one of this account, or as an administrator one of a group. It is " +
      "accepted and sent as messages are, and has an id and a status of its own. What the log has of the message " +
      "stays.",
    params: MessageIdField,
    headers: IdempotencyField,
    success: Message.pipe(HttpApiSchema.status(202)),
    example: { ...outgoing, type: "revoke", body: null },
    errors: actionErrors
  }),
  Operation.act("Messages", "MarkRead", "/messages/:id/read", {
    scope: "send",
    reach: "filter",
    summary: "Mark a message as read",
    description:
      "Shows the sender of a message that it was read. The gateway is asked at once, and nothing is stored: if it " +
      "cannot be asked now, repeat the request.",
    params: MessageIdField,
    success: HttpApiSchema.NoContent,
    example: undefined,
    errors: signalErrors
  }),
  Operation.post("Messages", "Typing", "/devices/:id/chats/:chat/typing", {
    scope: "send",
    reach: "device",
    summary: "Show a typing indicator",
    description:
      "Shows a chat that the account is typing, or no longer is. The gateway is asked at once, and nothing is stored.",
    params: ChatFields,
    body: TypingFields,
    bodyExample: { active: true },
    success: HttpApiSchema.NoContent,
    example: undefined,
    errors: signalErrors
  }),
  Operation.remove("Messages", "Cancel", "/messages/:id", {
    scope: "send",
    reach: "filter",
    summary: "Cancel a message",
    description:
      "Cancels a message that is still scheduled or pending: it will not be sent. Refused, with its status, for one " +
      "that is being sent or has ended.",
    params: MessageIdField,
    success: Message,
    example: { ...outgoing, status: "cancelled" },
    errors: [MessageNotFound, MessageNotCancellable, StorageUnavailable]
  })
] as const
