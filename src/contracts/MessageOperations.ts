/** The operations on messages: reads of what the log has recorded, and sending. */
import { HttpApiSchema } from "effect/http-api"
import { DeviceNotFound, DeviceStateConflict, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
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
import {
  DeviceIdField,
  IdempotencyField,
  ListMessagesFields,
  MessageIdField,
  MessagePage,
  SendMessageFields
} from "./Payloads.ts"

export const messageOperations = [
  Operation.get("Messages", "List", "/messages", {
    scope: "read",
    reach: "filter",
    summary: "List messages",
    description:
      "A page of messages, newest first by the time they were recorded. Those that Columba sends stand where they were " +
      "accepted, with what has become of them.",
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
      "Accepts a message for sending: once it is answered with 202, it is stored, and a crash does not lose it. It is " +
      "given to the gateway once the device is online and its time has come, in order per chat, and expires 24 hours " +
      "after that time. What becomes of it are events (`message.status`, `message.sent`, `message.ack`), and its " +
      "`status`. If no answer of the gateway comes, the status is `unknown` until the gateway's history tells; it is not " +
      "sent again unless `onUnknown` says so. The file of a message is uploaded before (`POST /devices/{id}/files`) or " +
      "fetched from its `url` when the message is sent.",
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
  Operation.remove("Messages", "Cancel", "/messages/:id", {
    scope: "send",
    reach: "filter",
    summary: "Cancel a message",
    description:
      "Takes back a message that is still scheduled or pending: it will not be sent. Refused, with its status, for one " +
      "that is on its way or has ended.",
    params: MessageIdField,
    success: Message,
    example: { ...outgoing, status: "cancelled" },
    errors: [MessageNotFound, MessageNotCancellable, StorageUnavailable]
  })
] as const
