/** Messages over HTTP: reads of what the log has recorded. */
import { HttpApiEndpoint, HttpApiGroup, OpenApi } from "effect/http-api"
import { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Message } from "../domain/Message.ts"
import { CursorInvalid, MessageNotFound } from "../domain/MessageErrors.ts"
import { RequiredScope } from "./Authorization.ts"
import { ListMessagesFields, MessageIdField, MessagePage } from "./Payloads.ts"

const list = HttpApiEndpoint.get("list", "/messages", {
  query: ListMessagesFields,
  success: MessagePage,
  error: [CursorInvalid, StorageUnavailable]
}).annotate(RequiredScope, "read").annotate(OpenApi.Description, "Messages, newest first by when they were recorded.")

const get = HttpApiEndpoint.get("get", "/messages/:id", {
  params: MessageIdField,
  success: Message,
  error: [MessageNotFound, StorageUnavailable]
}).annotate(RequiredScope, "read")

export const MessagesApi = HttpApiGroup.make("messages").add(list, get)
