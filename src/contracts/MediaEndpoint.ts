/**
 * The file of a message. It is no operation of the table: its answer is bytes, which go through as they come and would
 * be held in memory whole as an answer over RPC.
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
    "The picture, sound, film or document of a message, as the gateway gives it, with its type where that is a " +
    "harmless one and else as `application/octet-stream`. Gateways delete files after minutes and get them again from " +
    "WhatsApp, which deletes them after weeks; what Columba keeps it gives out itself. An answer that breaks off is " +
    "no file."
}))
