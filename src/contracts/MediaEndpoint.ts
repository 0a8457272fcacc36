/**
 * The file of a message. It is not an operation of the table: its answer is bytes, which are streamed; an answer over
 * RPC would hold them in memory whole.
 */
import { HttpApiEndpoint, HttpApiSchema } from "effect/http-api"
import { DeviceNotFound, GatewayUnavailable, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
import { GatewayUnusable } from "../domain/GatewayErrors.ts"
import { MediaAbsent, MediaTooLarge } from "../domain/MediaErrors.ts"
import { MessageNotFound } from "../domain/MessageErrors.ts"
import { TooManyStreams } from "./Failures.ts"
import { annotate } from "./Operation.ts"
import { MessageIdField } from "./MessagePayloads.ts"

export const mediaEndpoint = HttpApiEndpoint.get("download", "/messages/:id/media", {
  params: MessageIdField,
  success: HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" }),
  error: [
    MessageNotFound,
    MediaAbsent,
    MediaTooLarge,
    DeviceNotFound,
    GatewayUnknown,
    GatewayUnusable,
    GatewayUnavailable,
    StorageUnavailable,
    TooManyStreams
  ]
}).annotateMerge(annotate({
  scope: "read",
  reach: "filter",
  summary: "Get the file of a message",
  description:
    "The picture, sound, film or document of a message, as the gateway returns it, with its type if that is a " +
    "harmless one, otherwise as `application/octet-stream`. Gateways delete files after minutes and get them again from " +
    "WhatsApp, which deletes them after weeks; files that Columba keeps it serves itself. An answer that breaks off " +
    "is no file."
}))
