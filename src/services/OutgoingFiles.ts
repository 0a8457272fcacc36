/**
 * The files that messages are to be sent with, from their upload until the last message with them has ended. A port with
 * one implementation, on the disk of the process that runs the devices; without it, a process takes no uploads.
 *
 * A file that was uploaded has an id by its content and may belong to many messages; one that was fetched for a message
 * lies under that message's id.
 */
import { Context, Schema } from "effect"
import type { Duration, Effect, Scope, Stream } from "effect"
import type { DeviceId, MessageId } from "../domain/Ids.ts"
import type { FileFacts, FileId } from "../domain/OutgoingFile.ts"
import type { FileTooLarge, UploadRefused } from "../domain/SendErrors.ts"

/** The directory could not be read or written. Names no path. */
export class OutgoingFilesFailed extends Schema.TaggedError<OutgoingFilesFailed>()("OutgoingFilesFailed", {
  message: Schema.String,
  operation: Schema.String
}) {
  static of(operation: string, code: string): OutgoingFilesFailed {
    return new OutgoingFilesFailed({
      operation,
      message: `The directory of files to send failed to ${operation} (${code})`
    })
  }
}

export interface UploadedFile extends FileFacts {
  readonly id: FileId
}

export interface OpenedFile extends FileFacts {
  /** Exactly `size` bytes. Can be read once. */
  readonly content: Stream.Stream<Uint8Array, OutgoingFilesFailed>
}

export class OutgoingFiles extends Context.Service<OutgoingFiles, {
  /** How long a file stays that no message is to be sent with: time to name it in a message, and to repeat that request. */
  readonly unusedFor: Duration.Duration
  /** Whole or not at all, and on the disk before it returns. */
  readonly upload: <E>(
    device: DeviceId,
    content: Stream.Stream<Uint8Array, E>
  ) => Effect.Effect<UploadedFile, E | FileTooLarge | UploadRefused | OutgoingFilesFailed>
  /** Null where there is none. One that is found stays for `unusedFor` more. */
  readonly find: (device: DeviceId, id: FileId) => Effect.Effect<FileFacts | null, OutgoingFilesFailed>
  /** Keeps what was fetched for a message, above `bytesMax` not at all. */
  readonly keep: <E>(
    device: DeviceId,
    message: MessageId,
    content: Stream.Stream<Uint8Array, E>,
    bytesMax: number
  ) => Effect.Effect<void, E | FileTooLarge | UploadRefused | OutgoingFilesFailed>
  /** For as long as the scope. Null where there is none. */
  readonly open: (
    device: DeviceId,
    id: FileId | MessageId
  ) => Effect.Effect<OpenedFile | null, OutgoingFilesFailed, Scope.Scope>
  /** What was fetched for a message. */
  readonly remove: (device: DeviceId, message: MessageId) => Effect.Effect<void, OutgoingFilesFailed>
  /**
   * Deletes what no message will be sent with: uploads that are not among `inUse` and not used for a while, and what was
   * fetched and left by a crash. Asks only if there are files. Returns how many it deleted.
   */
  readonly sweep: <E>(inUse: Effect.Effect<FilesInUse, E>) => Effect.Effect<number, E | OutgoingFilesFailed>
}>()("columba/services/OutgoingFiles") {}

/** The uploads of each device that messages are still to be sent with. */
export type FilesInUse = ReadonlyMap<DeviceId, ReadonlySet<string>>
