/**
 * Uploading a file to send. It is not an operation of the table: its body is bytes, which are streamed; a request over
 * RPC would hold them in memory whole.
 */
import { Duration, Schema } from "effect"
import { HttpApiEndpoint, HttpApiSchema } from "effect/http-api"
import { DeviceNotFound, StorageUnavailable } from "../domain/DeviceErrors.ts"
import { Timestamp } from "../domain/Ids.ts"
import { fileBytesMax, FileId } from "../domain/OutgoingFile.ts"
import { FileInvalid, FileTooLarge, UploadMisdirected, UploadRefused } from "../domain/SendErrors.ts"
import { fileToSend } from "./examples.ts"
import { annotate } from "./Operation.ts"
import { DeviceIdField } from "./DevicePayloads.ts"

/** A file that messages of the device can be sent with. */
export const FileToSend = Schema.Struct({
  id: FileId,
  size: Schema.Int.annotate({ description: "Bytes" }),
  mimeType: Schema.NullOr(Schema.String).annotate({
    description: "The type, detected from its content; null if it was not recognised"
  }),
  expiresAt: Timestamp.annotate({
    description: "When it is deleted, unless a message with it still waits: then soon after that message has ended"
  })
}).annotate({ identifier: "FileToSend" })
export type FileToSend = typeof FileToSend.Type

/** Maximum time until an upload is answered, with all of its body: the largest file over a line of 3 Mbit/s. */
export const uploadTimeout = Duration.minutes(5)

/** The path of an upload: requests there may be larger and take longer than all others. */
export const isUploadPath = (path: string): boolean => /^\/api\/v1\/devices\/[^/]+\/files\/?$/.test(path)

export const uploadErrors = [
  DeviceNotFound,
  FileInvalid,
  FileTooLarge,
  UploadMisdirected,
  UploadRefused,
  StorageUnavailable
] as const

export const uploadEndpoint = HttpApiEndpoint.post("upload", "/devices/:id/files", {
  params: DeviceIdField,
  payload: HttpApiSchema.StreamUint8Array({ contentType: "application/octet-stream" }),
  success: FileToSend.pipe(HttpApiSchema.status(201)),
  error: uploadErrors
}).annotateMerge(annotate({
  scope: "send",
  reach: "device",
  summary: "Upload a file to send",
  description:
    `The body is the file itself, of any \`Content-Type\` and at most ${fileBytesMax} bytes. Once the answer is ` +
    "201, the file is on the disk. Its id is derived from its content, so that a repeat gives the same one; use it " +
    "in any number of messages of this device.",
  example: fileToSend
}))
