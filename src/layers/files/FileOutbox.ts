/**
 * Files to send in a directory: `{device}/{file}` for uploads, named by their content, and `{device}/{message}` for files
 * fetched for one message. Files under these names are complete; the database records which are still to be sent.
 */
import { createHash, randomUUID } from "node:crypto"
import { createReadStream, rmSync, statSync, utimesSync } from "node:fs"
import { open, readdir, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Clock, Duration, Effect, Layer, Schema, Stream } from "effect"
import { DeviceId, MessageId } from "../../domain/Ids.ts"
import { detectType, fileBytesMax, FileId, headBytes } from "../../domain/OutgoingFile.ts"
import type { FileFacts } from "../../domain/OutgoingFile.ts"
import { FileTooLarge, UploadRefused } from "../../domain/SendErrors.ts"
import { formatMessageId } from "../../services/EventIdentity.ts"
import { OutgoingFiles, OutgoingFilesFailed } from "../../services/OutgoingFiles.ts"
import type { FilesInUse } from "../../services/OutgoingFiles.ts"
import { codeOf, draftEnding, writeWhole } from "./wholeFile.ts"

export interface FileOutboxOptions {
  readonly directory: string
  /** All files together. 10 GiB by default: a hundred of the largest. */
  readonly quotaBytes?: number
  /** 15 minutes by default. */
  readonly unusedFor?: Duration.Duration
}

const quotaBytesDefault = 10 * 1024 ** 3
const unusedForDefault = Duration.minutes(15)

/** A fetched file is deleted with the answer; a message that is sent again fetches it again. */
const fetchedFor = Duration.hours(1)

/** A draft without a write for this time was left by a crash. */
const draftFor = Duration.minutes(10)

const isDevice = Schema.is(DeviceId)
const isFile = Schema.is(FileId)
const isMessage = Schema.is(MessageId)

interface Written extends FileFacts {
  readonly name: string
}

const failed = (operation: string) => (cause: unknown): OutgoingFilesFailed =>
  OutgoingFilesFailed.of(operation, codeOf(cause))

const attempt = <A>(operation: string, run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: failed(operation) })

/** The directory is created with the first file: a process that gets no file needs none. */
export const layer = (options: FileOutboxOptions): Layer.Layer<OutgoingFiles> =>
  Layer.effect(OutgoingFiles, make(options))

const make = Effect.fnUntraced(function*(
  { directory, quotaBytes = quotaBytesDefault, unusedFor = unusedForDefault }: FileOutboxOptions
): Effect.fn.Return<OutgoingFiles["Service"]> {
  let bytes = 0

  const list = attempt("list its files", async () => {
    const entries: Array<{ readonly device: DeviceId; readonly name: string; readonly size: number }> = []
    for (const device of ((await readdir(directory).catch(absent)) ?? []).filter(isDevice)) {
      for (const name of await readdir(join(directory, device))) {
        const found = await stat(join(directory, device, name)).catch(() => null)
        if (found !== null) entries.push({ device, name, size: found.size })
      }
    }
    return entries
  })

  bytes = (yield* Effect.orElseSucceed(list, () => [])).reduce((sum, { size }) => sum + size, 0)

  /** Writes at most the given number of bytes, and returns their description. */
  const write = <E>(
    device: DeviceId,
    content: Stream.Stream<Uint8Array, E>,
    bytesMax: number,
    name: (hash: string) => string
  ) =>
    Effect.suspend((): Effect.Effect<Written, E | FileTooLarge | UploadRefused | OutgoingFilesFailed> => {
      const hash = createHash("sha256")
      let head = Buffer.alloc(0)
      let size = 0
      let named = ""
      const bounded = Stream.mapEffect(content, (part): Effect.Effect<Uint8Array, FileTooLarge | UploadRefused> => {
        size += part.length
        bytes += part.length
        if (size > bytesMax) return Effect.fail(FileTooLarge.of(bytesMax))
        if (bytes > quotaBytes) {
          return Effect.fail(UploadRefused.of("full", "There is no room for more files to send; try again later"))
        }
        hash.update(part)
        if (head.length < headBytes) head = Buffer.concat([head, part.subarray(0, headBytes - head.length)])
        return Effect.succeed(part)
      })
      return writeWhole({
        directory: join(directory, device),
        draft: randomUUID(),
        content: bounded,
        name: () => named = name(hash.digest("hex")),
        failed: failed("write a file")
      }).pipe(
        Effect.map(() => ({ name: named, size, mimeType: detectType(head) })),
        // A file that existed under the same name, or was not kept, takes no more space; a sweep counts anew.
        Effect.onError(() => Effect.sync(() => void (bytes -= size)))
      )
    })

  const describe = async (path: string) => {
    const file = await open(path, "r").catch(absent)
    if (file === null) return null
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(headBytes), 0, headBytes, 0)
      return { size: (await file.stat()).size, mimeType: detectType(buffer.subarray(0, bytesRead)) }
    } finally {
      await file.close()
    }
  }

  /** The check and the deletion are not interruptible: nothing in this process can begin to use the file in between. */
  const removeIfOld = (path: string, before: number): boolean => {
    try {
      if (statSync(path).mtimeMs >= before) return false
      rmSync(path)
      return true
    } catch (cause) {
      if (codeOf(cause) === "ENOENT") return false
      throw cause
    }
  }

  const sweep = Effect.fnUntraced(function*<E>(inUse: Effect.Effect<FilesInUse, E>) {
    const entries = yield* list
    bytes = entries.reduce((sum, { size }) => sum + size, 0)
    if (entries.length === 0) return 0
    const used = yield* inUse
    const now = yield* Clock.currentTimeMillis
    let count = 0
    for (const { device, name, size } of entries) {
      const keep = name.endsWith(draftEnding)
        ? draftFor
        : isFile(name)
        ? unusedFor
        : isMessage(name)
        ? fetchedFor
        : null
      if (keep === null || used.get(device)?.has(name) === true) continue
      const gone = yield* Effect.try({
        try: () => removeIfOld(join(directory, device, name), now - Duration.toMillis(keep)),
        catch: failed("delete a file")
      })
      if (!gone) continue
      count++
      bytes -= size
    }
    return count
  })

  return OutgoingFiles.of({
    unusedFor,
    upload: (device, content) =>
      Effect.map(
        write(device, content, fileBytesMax, formatFileId),
        ({ mimeType, name, size }) => ({ id: FileId.make(name), size, mimeType })
      ),
    find: (device, id) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) =>
        attempt("read a file", async () => {
          const path = join(directory, device, id)
          const facts = await describe(path)
          if (facts !== null) utimesSync(path, now / 1000, now / 1000)
          return facts
        })),
    keep: (device, message, content, bytesMax) => Effect.asVoid(write(device, content, bytesMax, () => message)),
    open: (device, id) => {
      const path = join(directory, device, id)
      const operation = "read a file"
      return Effect.map(attempt(operation, () => describe(path)), (facts) =>
        facts === null ? null : {
          ...facts,
          content: NodeStream.fromReadable({
            evaluate: () => createReadStream(path, { end: Math.max(facts.size - 1, 0) }),
            onError: failed(operation)
          })
        })
    },
    remove: (device, message) => attempt("delete a file", () => rm(join(directory, device, message), { force: true })),
    sweep
  })
})

/** 128 bits of the content's hash, in the alphabet of all ids. */
const formatFileId = (hash: string): string => formatMessageId(hash.slice(0, 32)).replace(/^msg_/, "file_")

const absent = (cause: unknown): null => {
  if (codeOf(cause) === "ENOENT") return null
  throw cause
}
