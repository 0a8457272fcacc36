/** Uploading a file with the client: every form of content, bounded, with typed errors, and repeated where that is safe. */
import { openAsBlob, readFileSync, writeFileSync } from "node:fs"
import { createServer } from "node:http"
import { join } from "node:path"
import { Readable } from "node:stream"
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Fiber, Stream } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import { connect, isFailure } from "../../src/client/promise.ts"
import type { ConnectOptions, PlainUpload } from "../../src/client/promise.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { fileBytesMax } from "../../src/domain/OutgoingFile.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import * as Answering from "../support/answeringServer.ts"
import { freshDirectory } from "../support/directory.ts"
import { fileBytes, hashOf, inParts } from "../support/files.ts"
import { listen } from "../support/listening.ts"
import type { Key } from "../support/surface.ts"
import { makeStorage, startServer } from "../support/surface.ts"

const absent = "dev_00000000000000000000000009" as DeviceId

const setup = Effect.fnUntraced(function*(keys?: ReadonlyArray<Key>) {
  const directory = yield* freshDirectory
  const outbox = join(directory, "outbox")
  const storage = yield* makeStorage
  const start = (port = 0) => startServer({ outbox, storage, port, ...(keys === undefined ? {} : { keys }) })
  const server = yield* start()
  const manager = yield* Effect.provideContext(DeviceManager, server.services)
  const { id } = yield* Effect.orDie(manager.register({ name: "desk" }))
  const hashOfFile = (file: string) => hashOf(readFileSync(join(outbox, id, file)))
  return { directory, hashOfFile, id, server, start, url: server.url }
})

const open = (options: ConnectOptions) =>
  Effect.acquireRelease(Effect.sync(() => connect(options)), (columba) => Effect.promise(columba.close))

const failureOf = (promise: Promise<unknown>) =>
  Effect.promise(() =>
    promise.then(
      () => assert.fail("it did not fail"),
      (error: unknown) => isFailure(error) ? error : assert.fail(`no failure of the client: ${String(error)}`)
    )
  )

/** More than the largest file, a MiB at a time; reports how much of it was read. */
const endless = () => {
  const taken = { bytes: 0 }
  const part = new Uint8Array(2 ** 20)
  const content = async function*() {
    for (;;) {
      taken.bytes += part.byteLength
      yield part
    }
  }
  return { content: content(), taken }
}

/** An error that a program's own stream may fail with. */
class DiskFailed extends Data.TaggedError("DiskFailed")<{ readonly message: string }> {}

describe.for(["websocket", "http"] as const)("an upload of the client over %s", (transport) => {
  it.live("accepts bytes, blobs, streams and iterables, all for the same file", () =>
    Effect.gen(function*() {
      const { directory, hashOfFile, id, url } = yield* setup()
      const bytes = fileBytes("image", 300_001)
      const path = join(directory, "picture")
      writeFileSync(path, bytes)
      const columba = yield* open({ url, transport })
      const contents: ReadonlyArray<PlainUpload["content"]> = [
        bytes,
        new Blob([new Uint8Array(bytes)]),
        yield* Effect.promise(() => openAsBlob(path)),
        Readable.from([bytes.subarray(0, 1000), bytes.subarray(1000)]),
        Readable.toWeb(Readable.from([bytes])) as ReadableStream<Uint8Array>
      ]
      const uploaded = yield* Effect.forEach(contents, (content) =>
        Effect.promise(() => columba.files.upload({ id, content })))
      const [first] = uploaded
      assert.deepInclude(first, { size: 300_001, mimeType: "image/jpeg" })
      assert.deepStrictEqual(
        new Set(uploaded.map((file) =>
          file.id
        )),
        new Set([first!.id])
      )
      assert.strictEqual(hashOfFile(first!.id), hashOf(bytes))
      const layer = transport === "websocket" ? ColumbaClient.layer({ url }) : ColumbaClient.layerHttp({ url })
      const streamed = yield* Effect.flatMap(
        ColumbaClient,
        ({ files }) => files.upload({ id, content: inParts(bytes) })
      )
        .pipe(Effect.provide(layer))
      assert.strictEqual(streamed.id, first!.id)
    }))

  it.live("fails with the typed error of the server", () =>
    Effect.gen(function*() {
      const { id, url } = yield* setup([["sender", ["send"], "send-key"], ["reader", ["read"], "read-key"]])
      const content = fileBytes("image", 5_000_000)
      const tagFor = (apiKey: string | undefined, asked: Partial<PlainUpload>) =>
        Effect.gen(function*() {
          const columba = yield* open({ url, transport, apiKey, retryFor: 0 })
          return (yield* failureOf(columba.files.upload({ id, content, ...asked })))._tag
        })
      assert.strictEqual(yield* tagFor(undefined, {}), "Unauthorized")
      assert.strictEqual(yield* tagFor("read-key", {}), "Forbidden")
      assert.strictEqual(yield* tagFor("send-key", { id: absent }), "DeviceNotFound")
      assert.strictEqual(yield* tagFor("send-key", { id: "../keys" }), "RequestInvalid")
      assert.strictEqual(yield* tagFor("send-key", { content: new Uint8Array() }), "FileInvalid")
    }))
})

describe("an upload of the client", () => {
  it.live("that exceeds the size of any message ends by itself, before it is sent if its size is known", () =>
    Effect.gen(function*() {
      const { id, url } = yield* setup()
      const columba = yield* open({ url })
      const { content, taken } = endless()
      assert.strictEqual((yield* failureOf(columba.files.upload({ id, content })))._tag, "FileTooLarge")
      assert.isBelow(taken.bytes, fileBytesMax + 4 * 2 ** 20)
      const nobody = yield* open({ url: "http://127.0.0.1:1" })
      const large = new Blob([new Uint8Array(fileBytesMax + 1)])
      assert.strictEqual((yield* failureOf(nobody.files.upload({ id, content: large })))._tag, "FileTooLarge")
    }))

  it.live("reads its stream no faster than the server accepts it", () =>
    Effect.gen(function*() {
      const { content, taken } = endless()
      let received = 0
      let ahead = 0
      const port = yield* listen(createServer((request, response) => {
        request.on("data", (chunk: Buffer) => {
          received += chunk.length
          ahead = Math.max(ahead, taken.bytes - received)
          request.pause()
          setImmediate(() => request.resume())
        })
        request.on("error", () => response.destroy())
      }))
      const columba = yield* open({ url: `http://127.0.0.1:${port}` })
      assert.strictEqual((yield* failureOf(columba.files.upload({ id: absent, content })))._tag, "FileTooLarge")
      assert.isAbove(received, fileBytesMax / 2)
      // The buffers of both sockets have some MiB.
      assert.isBelow(ahead, 24 * 2 ** 20)
    }))

  it.live("ends with the reason of its signal", () =>
    Effect.gen(function*() {
      const arrived = Promise.withResolvers<void>()
      const port = yield* listen(createServer(() => arrived.resolve()))
      const columba = yield* open({ url: `http://127.0.0.1:${port}` })
      const controller = new AbortController()
      const reason = new Error("enough")
      const upload = columba.files.upload({ id: absent, content: new Uint8Array(10) }, { signal: controller.signal })
      yield* Effect.promise(() => arrived.promise)
      controller.abort(reason)
      assert.strictEqual(yield* Effect.promise(() => upload.catch((error: unknown) => error)), reason)
    }))

  it.live("whose content cannot be read fails with that reason, and not with that of the request", () =>
    Effect.gen(function*() {
      const { id, url } = yield* setup()
      const broken = new DiskFailed({ message: "no such sector" })
      const columba = yield* open({ url })
      const content = async function*() {
        yield new Uint8Array(10)
        throw broken
      }
      const rejected = yield* Effect.promise(() =>
        columba.files.upload({ id, content: content() }).catch((error: unknown) => error)
      )
      assert.strictEqual(rejected, broken)
      assert.isFalse(isFailure(rejected), "it is the program's own, though it has a _tag")
      const typed = yield* Effect.flatMap(
        ColumbaClient,
        ({ files }) =>
          files.upload({ id, content: Stream.concat(Stream.make(new Uint8Array(10)), Stream.fail(broken)) })
      ).pipe(Effect.flip, Effect.provide(ColumbaClient.layerHttp({ url })))
      assert.strictEqual(typed, broken)
    }))

  it.live("is repeated while the server is down, unless its content is a stream", () =>
    Effect.gen(function*() {
      const { hashOfFile, id, server, start, url } = yield* setup()
      const bytes = fileBytes("image", 1000)
      yield* server.stop
      const columba = yield* open({ url, transport: "http" })
      const upload = yield* Effect.forkChild(
        Effect.promise(() => columba.files.upload({ id, content: bytes })),
        { startImmediately: true }
      )
      const streamed = yield* failureOf(columba.files.upload({ id, content: Readable.from([bytes]) }))
      assert.strictEqual(streamed._tag, "RpcClientError")
      yield* start(server.port)
      assert.strictEqual(hashOfFile((yield* Fiber.join(upload)).id), hashOf(bytes))
    }))

  it.live("has an unknown outcome if something other than Columba answers", () =>
    Effect.gen(function*() {
      for (
        const answer of [
          { status: 502, body: "<html>bad gateway</html>" },
          { status: 200, body: "{}" },
          { status: 201, body: "{}" },
          { status: 201, body: "x".repeat(2 ** 20) }
        ]
      ) {
        const { url } = yield* Answering.start(answer)
        const columba = yield* open({ url, retryFor: 0 })
        const failure = yield* failureOf(columba.files.upload({ id: absent, content: new Uint8Array(10) }))
        assert.strictEqual(failure._tag, "RpcClientError", `${answer.status}`)
        assert.notInclude(failure.message, "<html>")
      }
    }))
})

describe("isFailure", () => {
  it("is true only for the client's own errors", () => {
    assert.isFalse(isFailure(new DiskFailed({ message: "a tagged error of somebody else" })))
    assert.isFalse(isFailure(Object.assign(new Error("a"), { _tag: "DeviceNotFound" })))
    assert.isFalse(isFailure({ _tag: "DeviceNotFound", message: "a" }))
    assert.isFalse(isFailure(undefined))
  })
})
