/**
 * The store of kept files of messages. A port with one implementation, on the disk of the process; it may delete files
 * at any time, when they are old or the room is used up. The messages themselves are in the log.
 */
import { Context, Schema } from "effect"
import type { Effect, Scope, Stream } from "effect"
import type { DeviceId, MessageId } from "../domain/Ids.ts"

export class MediaStoreFailed extends Schema.TaggedError<MediaStoreFailed>()("MediaStoreFailed", {
  message: Schema.String,
  operation: Schema.String
}) {
  static of(operation: string, code: string): MediaStoreFailed {
    return new MediaStoreFailed({ operation, message: `The directory of kept files failed to ${operation} (${code})` })
  }
}

export interface FileDescription {
  readonly mimeType: string | null
  readonly fileName: string | null
}

export interface KeptFile extends FileDescription {
  readonly size: number
  readonly content: Stream.Stream<Uint8Array, MediaStoreFailed>
}

export interface StoreView {
  readonly files: number
  readonly bytes: number
}

export class MediaStore extends Context.Service<MediaStore, {
  readonly has: (device: DeviceId, id: MessageId) => Effect.Effect<boolean>
  /** Null if the file is not kept. */
  readonly read: (
    device: DeviceId,
    id: MessageId
  ) => Effect.Effect<KeptFile | null, MediaStoreFailed, Scope.Scope>
  /** Writes the whole file or nothing, whatever happens meanwhile. */
  readonly write: <E>(
    device: DeviceId,
    id: MessageId,
    file: FileDescription & { readonly content: Stream.Stream<Uint8Array, E> }
  ) => Effect.Effect<void, MediaStoreFailed | E>
  /** The messages of the device whose files are kept. */
  readonly list: (device: DeviceId) => Effect.Effect<ReadonlyArray<MessageId>, MediaStoreFailed>
  readonly devices: Effect.Effect<ReadonlyArray<DeviceId>, MediaStoreFailed>
  readonly remove: (device: DeviceId, ids: ReadonlyArray<MessageId>) => Effect.Effect<void, MediaStoreFailed>
  /**
   * Deletes files that are too old, and of the rest the oldest until the store is within the quota. Returns how many
   * it deleted.
   */
  readonly tidy: Effect.Effect<number, MediaStoreFailed>
  readonly view: Effect.Effect<StoreView>
  /** Where a reader of the log that fills the store resumes; null before the first. */
  readonly readPlace: Effect.Effect<string | null>
  readonly writePlace: (place: string) => Effect.Effect<void, MediaStoreFailed>
}>()("columba/services/MediaStore") {}
