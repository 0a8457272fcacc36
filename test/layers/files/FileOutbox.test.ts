/** Files to send on the disk: complete or absent, within the quota, and deleted when no message needs them. */
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Stream } from "effect"
import type { DeviceId, MessageId } from "../../../src/domain/Ids.ts"
import { fileBytesMax } from "../../../src/domain/OutgoingFile.ts"
import type { FileId } from "../../../src/domain/OutgoingFile.ts"
import * as FileOutbox from "../../../src/layers/files/FileOutbox.ts"
import { OutgoingFiles } from "../../../src/services/OutgoingFiles.ts"
import { freshDirectory } from "../../support/directory.ts"
import { fileBytes, inParts } from "../../support/files.ts"

const device = "dev_01K0000000000000000000TEST" as DeviceId
const message = "msg_00000000000000000000000001" as MessageId

const setUp = Effect.fnUntraced(function*(options: Partial<FileOutbox.FileOutboxOptions> = {}) {
  const directory = join(yield* freshDirectory, "outbox")
  const open = Layer.build(Layer.fresh(FileOutbox.layer({ ...options, directory })))
  const files = Context.get(yield* open, OutgoingFiles)
  const list = () => readdirSync(join(directory, device)).toSorted()
  const age = (name: string, by: Duration.Duration) => {
    const at = (Date.now() - Duration.toMillis(by)) / 1000
    utimesSync(join(directory, device, name), at, at)
  }
  return { directory, files, list, age, open }
})

const used = (...ids: ReadonlyArray<string>) => Effect.succeed(new Map([[device, new Set(ids)]]))
const unused = Effect.succeed(new Map<DeviceId, ReadonlySet<string>>())

describe("the directory of files to send", () => {
  it.live("stores a complete file, under an id from its content, also after a restart", () =>
    Effect.gen(function*() {
      const { directory, files, open } = yield* setUp()
      const bytes = fileBytes("video", 200_000)
      const { id, ...facts } = yield* files.upload(device, inParts(bytes))
      assert.deepStrictEqual(facts, { size: 200_000, mimeType: "video/mp4" })
      assert.deepStrictEqual(readFileSync(join(directory, device, id)), bytes)
      const next = Context.get(yield* open, OutgoingFiles)
      assert.deepStrictEqual(yield* next.find(device, id), facts)
      const opened = yield* Effect.scoped(
        Effect.flatMap(next.open(device, id), (file) => Stream.runCollect(file!.content))
      )
      assert.isTrue(Buffer.concat([...opened]).equals(bytes))
      assert.isNull(yield* next.find("dev_01K00000000000000000OTHER0" as DeviceId, id))
      assert.isNull(yield* Effect.scoped(next.open(device, `file_${"1".repeat(26)}` as FileId)))
    }).pipe(Effect.orDie))

  it.live("keeps nothing of a file that breaks off", () =>
    Effect.gen(function*() {
      const { files, list } = yield* setUp()
      const broken = Stream.concat(inParts(fileBytes("image")), Stream.fail("gone" as const))
      assert.strictEqual(yield* Effect.flip(files.upload(device, broken)), "gone")
      const begun = yield* Deferred.make<void>()
      const endless = Stream.concat(
        inParts(fileBytes("image")),
        Stream.fromEffect(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      )
      const upload = yield* Effect.forkChild(files.upload(device, endless))
      yield* Deferred.await(begun)
      assert.strictEqual(list().length, 1)
      yield* Fiber.interrupt(upload)
      assert.deepStrictEqual(list(), [])
      const large = inParts(Buffer.alloc(fileBytesMax + 1), 1024 * 1024)
      assert.deepInclude(yield* Effect.flip(files.upload(device, large)), { _tag: "FileTooLarge" })
      const fetched = yield* Effect.flip(files.keep(device, message, inParts(Buffer.alloc(1001)), 1000))
      assert.deepInclude(fetched, { _tag: "FileTooLarge", bytesMax: 1000 })
      assert.deepStrictEqual(list(), [])
    }).pipe(Effect.orDie))

  it.live("accepts no more than it has room for, and has room again when files are deleted", () =>
    Effect.gen(function*() {
      const { age, files } = yield* setUp({ quotaBytes: 10_000 })
      const { id } = yield* files.upload(device, inParts(fileBytes("image", 6000)))
      const other = files.upload(device, inParts(fileBytes("image", 6001)))
      assert.deepInclude(yield* Effect.flip(other), { _tag: "UploadRefused", reason: "full" })
      age(id, Duration.hours(1))
      assert.strictEqual(yield* files.sweep(unused), 1)
      assert.strictEqual((yield* other).size, 6001)
    }).pipe(Effect.orDie))

  it.live("keeps files that are in use, were just used, or are still written, and deletes the rest", () =>
    Effect.gen(function*() {
      const { age, directory, files, list } = yield* setUp()
      const [inUse, fresh, found, old] = yield* Effect.forEach(
        [1, 2, 3, 4],
        (n) => Effect.map(files.upload(device, inParts(fileBytes("image", 1000 + n))), ({ id }) => id)
      )
      yield* files.keep(device, message, inParts(fileBytes("image")), 2000)
      const drafts = ["new.part", "old.part", "not-ours"]
      mkdirSync(join(directory, "lost+found"))
      for (const name of drafts) writeFileSync(join(directory, device, name), "x")
      for (const name of [inUse!, found!, old!, "old.part", "not-ours"]) age(name, Duration.minutes(16))
      assert.isNotNull(yield* files.find(device, found!))
      assert.strictEqual(yield* files.sweep(used(inUse!)), 2)
      assert.deepStrictEqual(list(), [inUse!, fresh!, found!, message, "new.part", "not-ours"].toSorted())
      age(message, Duration.hours(2))
      assert.strictEqual(yield* files.sweep(used(inUse!, fresh!, found!)), 1)
      yield* files.keep(device, message, inParts(fileBytes("image")), 2000)
      yield* files.remove(device, message)
      assert.notInclude(list(), message)
      yield* files.remove(device, message)
    }).pipe(Effect.orDie))
})
