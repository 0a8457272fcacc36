/**
 * Kept files in a directory: `{device}/{message}`, each with a line that describes it before its content. A file is
 * written under another name, flushed and then renamed, so every file under its final name is complete. Remains of a crash
 * are deleted at the next start.
 */
import { createReadStream } from "node:fs"
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises"
import { join } from "node:path"
import * as NodeStream from "@effect/platform-node/NodeStream"
import { Duration, Effect, Layer, Schema, Stream } from "effect"
import { DeviceId, MessageId } from "../../domain/Ids.ts"
import { MediaStore, MediaStoreFailed } from "../../services/MediaStore.ts"
import type { FileDescription, KeptFile } from "../../services/MediaStore.ts"
import { codeOf, draftEnding, writeWhole } from "./wholeFile.ts"

export interface FileMediaStoreOptions {
  readonly directory: string
  readonly keep: Duration.Duration
  readonly quotaBytes: number
}

/** A deletion ends this share below the quota, so that not every new file causes one. */
const headroom = 0.05

/** Space for the sender's file name and a type; anything longer is not a description that we wrote. */
const headBytesMax = 4096

const placeFile = "place"

/** A draft without a write for this time was left by a crash. Another process may be writing younger ones. */
const draftMillisMax = 10 * 60_000

const isDevice = Schema.is(DeviceId)
const isMessage = Schema.is(MessageId)

interface Entry {
  readonly device: DeviceId
  readonly id: MessageId
  readonly path: string
  readonly bytes: number
  readonly keptAt: number
}

const failed = (operation: string) => (cause: unknown): MediaStoreFailed =>
  MediaStoreFailed.of(operation, codeOf(cause))

const attempt = <A>(operation: string, run: () => Promise<A>) =>
  Effect.tryPromise({ try: run, catch: failed(operation) })

export const layer = (options: FileMediaStoreOptions): Layer.Layer<MediaStore, MediaStoreFailed> =>
  Layer.effect(MediaStore, make(options))

const make = Effect.fnUntraced(function*(
  { directory, keep, quotaBytes }: FileMediaStoreOptions
): Effect.fn.Return<MediaStore["Service"], MediaStoreFailed> {
  const formatPath = (device: DeviceId, id: MessageId) => join(directory, device, id)
  let bytes = 0
  let files = 0
  let drafts = 0

  const listAll = attempt("list its files", async (): Promise<ReadonlyArray<Entry>> => {
    const entries: Array<Entry> = []
    for (const device of (await readdir(directory)).filter(isDevice)) {
      for (const id of (await readdir(join(directory, device))).filter(isMessage)) {
        const path = formatPath(device, id)
        // Deleted meanwhile, by an erasure for instance.
        const found = await stat(path).catch(() => null)
        if (found !== null) entries.push({ device, id, path, bytes: found.size, keptAt: found.mtimeMs })
      }
    }
    return entries
  })

  const deleteFiles = (paths: ReadonlyArray<string>) =>
    attempt("delete files", async () => {
      for (const path of paths) await rm(path, { force: true })
    })

  const recount = (entries: ReadonlyArray<Entry>): void => {
    files = entries.length
    bytes = entries.reduce((sum, entry) => sum + entry.bytes, 0)
  }

  const tidy = Effect.gen(function*() {
    const now = yield* Effect.clockWith((clock) => clock.currentTimeMillis)
    const entries = (yield* listAll).toSorted((one, other) => one.keptAt - other.keptAt)
    const oldest = now - Duration.toMillis(keep)
    let total = entries.reduce((sum, entry) => sum + entry.bytes, 0)
    const limit = total > quotaBytes ? quotaBytes * (1 - headroom) : quotaBytes
    const gone = entries.filter((entry) => {
      if (entry.keptAt >= oldest && total <= limit) return false
      total -= entry.bytes
      return true
    })
    yield* deleteFiles(gone.map(({ path }) => path))
    const deleted = new Set(gone)
    recount(entries.filter((entry) => !deleted.has(entry)))
    return gone.length
  })

  yield* attempt("open", async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    for (const device of (await readdir(directory)).filter(isDevice)) {
      for (const name of (await readdir(join(directory, device))).filter((one) => one.endsWith(draftEnding))) {
        const path = join(directory, device, name)
        const found = await stat(path).catch(() => null)
        if (found !== null && Date.now() - found.mtimeMs > draftMillisMax) await rm(path, { force: true })
      }
    }
  })
  recount(yield* listAll)

  const write: MediaStore["Service"]["write"] = (device, id, { content, fileName, mimeType }) =>
    Effect.gen(function*() {
      let size = 0
      yield* writeWhole({
        directory: join(directory, device),
        draft: `${id}.${++drafts}`,
        content: Stream.concat(Stream.make(encodeHead({ mimeType, fileName })), content).pipe(
          Stream.map((part) => {
            size += part.length
            return part
          })
        ),
        name: () => id,
        failed: failed("write a file")
      })
      files++
      bytes += size
      if (bytes > quotaBytes) yield* tidy
    })

  const read = (device: DeviceId, id: MessageId) =>
    Effect.gen(function*() {
      const operation = "read a file"
      const path = formatPath(device, id)
      const file = yield* Effect.acquireRelease(
        attempt(operation, () => open(path, "r").catch(absent)),
        (file) => file === null ? Effect.void : Effect.promise(() => file.close().catch(() => {}))
      )
      if (file === null) return null
      const { buffer, bytesRead } = yield* attempt(operation, () =>
        file.read(Buffer.alloc(headBytesMax), 0, headBytesMax, 0))
      const end = buffer.subarray(0, bytesRead).indexOf("\n")
      const description = end === -1 ? null : decodeHead(buffer.toString("utf8", 0, end))
      if (description === null) {
        return null
      }
      const { size } = yield* attempt(operation, () =>
        file.stat())
      const kept: KeptFile = {
        ...description,
        size: size - end - 1,
        content: NodeStream.fromReadable({
          evaluate: () => createReadStream(path, { start: end + 1 }),
          onError: failed(operation)
        })
      }
      return kept
    })

  return MediaStore.of({
    has: (device, id) => Effect.promise(() => stat(formatPath(device, id)).then(() => true, () => false)),
    read,
    write,
    list: (device) =>
      attempt("list its files", async () => {
        const names: ReadonlyArray<string> = await readdir(join(directory, device)).catch(() => [])
        return names.filter(isMessage)
      }),
    devices: attempt("list its files", async () => (await readdir(directory)).filter(isDevice)),
    remove: (device, ids) =>
      attempt("delete files", async () => {
        for (const id of ids) {
          const path = formatPath(device, id)
          const found = await stat(path).catch(() => null)
          if (found === null) continue
          await rm(path, { force: true })
          files--
          bytes -= found.size
        }
      }),
    tidy,
    view: Effect.sync(() => ({ files, bytes })),
    readPlace: Effect.promise(() => readFile(join(directory, placeFile), "utf8").catch(() => null)),
    writePlace: (place) =>
      attempt("note where it stands", async () => {
        const draft = join(directory, `${placeFile}${draftEnding}`)
        const file = await open(draft, "w", 0o600)
        try {
          await file.writeFile(place)
          await file.sync()
        } finally {
          await file.close()
        }
        await rename(draft, join(directory, placeFile))
      })
  })
})

const absent = (cause: unknown): null => {
  if (codeOf(cause) === "ENOENT") return null
  throw cause
}

const Head = Schema.fromJsonString(
  Schema.Struct({ mimeType: Schema.NullOr(Schema.String), fileName: Schema.NullOr(Schema.String) })
)
const decodeHeadOption = Schema.decodeUnknownOption(Head)

/** JSON has no line feed. A name that does not fit is left out. */
const encodeHead = (description: FileDescription): Buffer => {
  const whole = Buffer.from(`${JSON.stringify(description)}\n`)
  return whole.length <= headBytesMax ? whole : Buffer.from(`${JSON.stringify({ mimeType: null, fileName: null })}\n`)
}

const decodeHead = (text: string): FileDescription | null => {
  const decoded = decodeHeadOption(text)
  return decoded._tag === "Some" ? decoded.value : null
}
