/** Stored files: complete or absent, within the quota, and deleted when they are old. */
import { mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Stream } from "effect"
import type { Scope } from "effect"
import type { DeviceId, MessageId } from "../../../src/domain/Ids.ts"
import * as FileMediaStore from "../../../src/layers/files/FileMediaStore.ts"
import { MediaStore } from "../../../src/services/MediaStore.ts"
import { freshDirectory } from "../../support/directory.ts"

const device = "dev_01K0000000000000000000TEST" as DeviceId
const id = (number: number) => `msg_${String(number).padStart(26, "0")}` as MessageId

interface Bench {
  readonly directory: string
  readonly store: MediaStore["Service"]
  /** The next process on the same directory. */
  readonly reopen: Effect.Effect<MediaStore["Service"], never, Scope.Scope>
}

const setUp = Effect.fnUntraced(function*(
  options: Partial<FileMediaStore.FileMediaStoreOptions> = {}
): Effect.fn.Return<Bench, never, Scope.Scope> {
  const directory = join(yield* freshDirectory, "media")
  const settings = { keep: Duration.days(1), quotaBytes: 1_000_000, ...options, directory }
  const reopen = Effect.suspend(() => Layer.build(Layer.fresh(FileMediaStore.layer(settings)))).pipe(
    Effect.map((context) => Context.get(context, MediaStore)),
    Effect.orDie
  )
  return { directory, store: yield* reopen, reopen }
})

const file = (text: string, fileName: string | null = null) => ({
  mimeType: "image/jpeg",
  fileName,
  content: Stream.make<[Uint8Array]>(Buffer.from(text))
})

const textOf = (store: MediaStore["Service"], message: MessageId) =>
  Effect.scoped(Effect.gen(function*() {
    const kept = yield* store.read(device, message)
    if (kept === null) return null
    const parts = yield* Stream.runCollect(kept.content)
    const text = Buffer.concat([...parts]).toString("utf8")
    assert.strictEqual(Buffer.byteLength(text), kept.size)
    return { text, mimeType: kept.mimeType, fileName: kept.fileName }
  }))

describe("stored files", () => {
  it.live("are returned unchanged, also by the next process", () =>
    Effect.gen(function*() {
      const { reopen, store } = yield* setUp()
      yield* store.write(device, id(1), file("one", "a\nb \"ü\".jpg"))
      const expected = { text: "one", mimeType: "image/jpeg", fileName: "a\nb \"ü\".jpg" }
      assert.deepStrictEqual(yield* textOf(store, id(1)), expected)
      assert.isNull(yield* textOf(store, id(2)))
      const next = yield* reopen
      assert.deepStrictEqual(yield* textOf(next, id(1)), expected)
      assert.deepStrictEqual([yield* next.has(device, id(1)), yield* next.has(device, id(2))], [true, false])
      assert.deepStrictEqual([yield* next.list(device), yield* next.devices], [[id(1)], [device]])
      assert.strictEqual((yield* next.view).files, 1)
    }))

  it.live("are absent if their content broke off or was interrupted", () =>
    Effect.gen(function*() {
      const { directory, store } = yield* setUp()
      const broken = { ...file(""), content: Stream.concat(file("half").content, Stream.fail("away" as const)) }
      assert.strictEqual(yield* Effect.flip(store.write(device, id(1), broken)), "away")
      const begun = yield* Deferred.make<void>()
      const endless = Stream.concat(
        file("half").content,
        Stream.fromEffect(Effect.andThen(Deferred.succeed(begun, undefined), Effect.never))
      )
      const writing = yield* Effect.forkChild(store.write(device, id(2), { ...file(""), content: endless }))
      yield* Deferred.await(begun)
      yield* Fiber.interrupt(writing)
      assert.deepStrictEqual(readdirSync(join(directory, device)), [])
      assert.deepStrictEqual([yield* textOf(store, id(1)), yield* textOf(store, id(2))], [null, null])
    }))

  it.live("are deleted at the next start if a crash left them incomplete, but not while another process writes them", () =>
    Effect.gen(function*() {
      const { directory, reopen } = yield* setUp()
      mkdirSync(join(directory, device))
      for (const [name, minutes] of [["old.part", 60], ["young.part", 0]] as const) {
        writeFileSync(join(directory, device, name), "half")
        const at = Date.now() / 1000 - minutes * 60
        utimesSync(join(directory, device, name), at, at)
      }
      yield* reopen
      assert.deepStrictEqual(readdirSync(join(directory, device)), ["young.part"])
    }))

  it.live("beyond the quota are deleted, the oldest first", () =>
    Effect.gen(function*() {
      const { directory, store } = yield* setUp({ quotaBytes: 5000 })
      for (let number = 1; number <= 6; number++) {
        yield* store.write(device, id(number), file("x".repeat(1000)))
        const at = Date.now() / 1000 - 100 + number
        utimesSync(join(directory, device, id(number)), at, at)
      }
      const left = (yield* store.list(device)).toSorted()
      assert.isAtMost((yield* store.view).bytes, 5000)
      assert.deepStrictEqual(left, [id(3), id(4), id(5), id(6)].slice(-left.length))
      assert.isAtLeast(left.length, 3)
    }))

  it.live("are deleted when they are old, and files of other programs are not touched", () =>
    Effect.gen(function*() {
      const { directory, store } = yield* setUp()
      yield* store.write(device, id(1), file("old"))
      yield* store.write(device, id(2), file("new"))
      writeFileSync(join(directory, "README"), "not ours")
      const at = Date.now() / 1000 - 2 * 24 * 3600
      utimesSync(join(directory, device, id(1)), at, at)
      assert.strictEqual(yield* store.tidy, 1)
      assert.deepStrictEqual(yield* store.list(device), [id(2)])
      assert.include(readdirSync(directory), "README")
    }))

  it.live("can be deleted one by one, and then occupy no space", () =>
    Effect.gen(function*() {
      const { store } = yield* setUp()
      yield* store.write(device, id(1), file("one"))
      yield* store.remove(device, [id(1), id(2)])
      assert.deepStrictEqual(yield* store.view, { files: 0, bytes: 0 })
      assert.isFalse(yield* store.has(device, id(1)))
    }))

  it.live("are stored without their name if it is too long", () =>
    Effect.gen(function*() {
      const { store } = yield* setUp()
      yield* store.write(device, id(1), file("one", "n".repeat(10_000)))
      assert.deepStrictEqual(yield* textOf(store, id(1)), { text: "one", mimeType: null, fileName: null })
    }))

  it.live("record the position of a reader", () =>
    Effect.gen(function*() {
      const { reopen, store } = yield* setUp()
      assert.isNull(yield* store.readPlace)
      yield* store.writePlace("42-abcdef01")
      assert.strictEqual(yield* (yield* reopen).readPlace, "42-abcdef01")
    }))

  it.live("are refused if the directory is not one", () =>
    Effect.gen(function*() {
      const parent = yield* freshDirectory
      writeFileSync(join(parent, "media"), "a file")
      const settings = { directory: join(parent, "media"), keep: Duration.days(1), quotaBytes: 1000 }
      const refused = yield* Effect.flip(Layer.build(FileMediaStore.layer(settings)))
      assert.include(refused.message, "failed to open")
    }))
})
