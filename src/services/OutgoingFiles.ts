/**
 * The files that messages are to be sent with, from their upload until the last message with them has ended. A port
 * with one implementation, on the disk of the process that runs the devices; without it, a process accepts no uploads.
 *
 * An uploaded file has an id derived from its content and may belong to many messages; a file fetched for a message is
 * stored under that message's id.
 */
import { Context, Schema } from "effect"
import type { Duration, Effect, Scope, Stream } from "effect"
import type { DeviceId, MessageId } from "../domain/Ids.ts"
import type { FileFacts, FileId } from "../domain/OutgoingFile.ts"
import type { FileTooLarge, UploadRefused } from "../domain/SendErrors.ts"

/** The directory could not be read or written. The message contains no path. */
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
  /** How long an unused file is kept: time to use it in a message, and to repeat that request. */
  readonly unusedFor: Duration.Duration
  /** Stores the whole file or nothing; it is on the disk before it returns. */
  readonly upload: <E>(
    device: DeviceId,
    content: Stream.Stream<Uint8Array, E>
  ) => Effect.Effect<UploadedFile, E | FileTooLarge | UploadRefused | OutgoingFilesFailed>
  /** Null if there is none. A found file is kept for `unusedFor` more. */
  readonly find: (device: DeviceId, id: FileId) => Effect.Effect<FileFacts | null, OutgoingFilesFailed>
  /** Stores the file fetched for a message, unless it is above `bytesMax`. */
  readonly keep: <E>(
    device: DeviceId,
    message: MessageId,
    content: Stream.Stream<Uint8Array, E>,
    bytesMax: number
  ) => Effect.Effect<void, E | FileTooLarge | UploadRefused | OutgoingFilesFailed>
  /** For as long as the scope. Null if there is none. */
  readonly open: (
    device: DeviceId,
    id: FileId | MessageId
  ) => Effect.Effect<OpenedFile | null, OutgoingFilesFailed, Scope.Scope>
  /** Deletes the file that was fetched for a message. */
  readonly remove: (device: DeviceId, message: MessageId) => Effect.Effect<void, OutgoingFilesFailed>
  /**
   * Deletes files that no message will be sent with: uploads that are not among `inUse` and not used for a while, and
   * fetched files left by a crash. Evaluates `inUse` only if there are files. Returns how many it deleted.
   */
  readonly sweep: <E>(inUse: Effect.Effect<FilesInUse, E>) => Effect.Effect<number, E | OutgoingFilesFailed>
}>()("columba/services/OutgoingFiles") {}

/** The uploads of each device that messages are still to be sent with. */
export type FilesInUse = ReadonlyMap<DeviceId, ReadonlySet<string>>
