/** Files to send over HTTP: which are accepted, which are refused before anything is stored, and the rights of a key. */
import { readdirSync, rmSync } from "node:fs"
import { connect } from "node:net"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { ColumbaClient } from "../../src/client/ColumbaClient.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import { fileBytesMax, MediaKind } from "../../src/domain/OutgoingFile.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { freshDirectory } from "../support/directory.ts"
import { fileBytes } from "../support/files.ts"
import { ScriptedSending } from "../support/scriptedSending.ts"
import { ask, type Key, makeScript, startServer } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"
import { until } from "../support/until.ts"

const to = "6281298765432"

const setup = Effect.fnUntraced(
  function*(
    options: { readonly keys?: ReadonlyArray<Key>; readonly apart?: boolean; readonly allowPrivate?: boolean } = {}
  ) {
    const script = makeScript()
    Object.assign(script.gateway, { send: new ScriptedSending(["text", "image", "document", "voice"]) })
    const outbox = join(yield* freshDirectory, "outbox")
    const server = yield* startServer({
      script,
      ...(options.apart === true ? {} : { outbox }),
      ...(options.keys === undefined ? {} : { keys: options.keys }),
      allowPrivate: options.allowPrivate ?? true
    })
    const manager = yield* Effect.provideContext(DeviceManager, server.services)
    const device = (yield* Effect.orDie(manager.register({ name: "desk" }))).id
    const upload = (
      body: NonNullable<RequestInit["body"]>,
      headers: Record<string, string> = {},
      id: DeviceId = device
    ) =>
      ask(`${server.url}/api/v1/devices/${id}/files`, {
        method: "POST",
        body,
        headers: { "content-type": "application/octet-stream", ...headers },
        duplex: "half"
      } as RequestInit)
    const post = (json: Json, headers: Record<string, string> = {}, id: DeviceId = device) =>
      ask(`${server.url}/api/v1/devices/${id}/messages`, { method: "POST", json, headers })
    const get = (path: string) => ask(`${server.url}/api/v1${path}`)
    const files = () => {
      try {
        return readdirSync(join(outbox, device))
      } catch {
        return []
      }
    }
    return { script, server, manager, device, outbox, upload, post, get, files }
  }
)

const bytesOf = (buffer: Buffer): Uint8Array<ArrayBuffer> => new Uint8Array(buffer)

/** Any number of zeros, with never more than one part in memory. */
const zeros = (size: number, part = 1024 * 1024): ReadableStream<Uint8Array> => {
  let left = size
  const chunk = new Uint8Array(part)
  return new ReadableStream({
    pull: (controller) => {
      left -= part
      controller.enqueue(chunk)
      if (left <= 0) controller.close()
    }
  })
}

describe("files to send over HTTP", () => {
  it.live("are accepted unchanged, under an id from their content, and sent in any number of messages", () =>
    Effect.gen(function*() {
      const { device, files, get, post, upload } = yield* setup()
      const bytes = fileBytes("image", 300_000)
      const { body, status } = yield* upload(bytesOf(bytes), { "content-type": "text/html" })
      assert.strictEqual(status, 201)
      assert.deepInclude(body, { size: bytes.length, mimeType: "image/jpeg" })
      assert.deepStrictEqual((yield* upload(bytesOf(bytes))).body.id, body.id)
      assert.notStrictEqual((yield* upload(bytesOf(fileBytes("image", 300_001)))).body.id, body.id)
      assert.strictEqual(files().length, 2)
      for (const caption of ["one", "two"]) {
        const sent = yield* post({ to, image: { file: body.id, caption } })
        assert.deepStrictEqual([sent.status, sent.body.type, sent.body.body], [202, "image", caption])
      }
      assert.strictEqual((yield* get(`/messages?device=${device}`)).body.items.length, 2)
    }))

  it.live("are refused before anything is stored if they cannot be sent", () =>
    Effect.gen(function*() {
      const { get, post, upload } = yield* setup()
      const [image, page, large] = [
        (yield* upload(bytesOf(fileBytes("image")))).body.id,
        (yield* upload("<html><script>alert(1)</script></html>", { "content-type": "image/jpeg" })).body.id,
        (yield* upload(bytesOf(fileBytes("image", 20_000_001)))).body.id
      ]
      const wrong: ReadonlyArray<readonly [request: Json, status: number, tag: string, reason?: string]> = [
        [{ to, image: {} }, 400, "ContentInvalid"],
        [{ to, image: { file: image, url: "https://example.com/a.jpg" } }, 400, "ContentInvalid"],
        [{ to, image: { file: image }, text: "x" }, 400, "ContentInvalid"],
        [{ to, image: { file: image, fileName: "x" } }, 400, "RequestInvalid"],
        [{ to, image: { file: "../../etc/passwd" } }, 400, "RequestInvalid"],
        [{ to, image: { file: `file_${"0".repeat(26)}` } }, 404, "FileNotFound"],
        [{ to, image: { file: page } }, 422, "FileInvalid", "type"],
        [{ to, voice: { file: image } }, 422, "FileInvalid", "type"],
        [{ to, image: { file: large } }, 422, "FileInvalid", "size"],
        [{ to, sticker: { file: image } }, 422, "ContentUnsupported"],
        [{ to, image: { url: "ftp://example.com/a.jpg" } }, 422, "FileInvalid", "url"]
      ]
      for (const [request, status, tag, reason] of wrong) {
        const answer = yield* post(request)
        assert.deepStrictEqual([answer.status, answer.body._tag, answer.body.reason], [status, tag, reason], tag)
      }
      assert.strictEqual((yield* post({ to, document: { file: page, fileName: "a.html" } })).status, 202)
      assert.strictEqual((yield* get("/messages")).body.items.length, 1)
    }))

  it.live("are refused if their URL has a private address", () =>
    Effect.gen(function*() {
      const { get, post } = yield* setup({ allowPrivate: false })
      for (const host of ["http://127.0.0.1", "https://10.0.0.1", "https://[::1]", "https://169.254.169.254"]) {
        const { body, status } = yield* post({ to, image: { url: `${host}/secret.jpg` } })
        assert.deepStrictEqual([status, body._tag, body.reason], [422, "FileInvalid", "url"], host)
        assert.notInclude(body.message, "secret")
      }
      assert.deepStrictEqual((yield* get("/messages")).body.items, [])
    }))

  it.live(
    "are refused at a gigabyte, with or without a length, and neither held in memory nor stored",
    () =>
      Effect.gen(function*() {
        const { files, server, upload } = yield* setup()
        global.gc?.()
        const before = process.memoryUsage().rss
        const { body, status } = yield* upload(zeros(1024 ** 3))
        assert.deepStrictEqual([status, body._tag, body.bytesMax], [413, "FileTooLarge", fileBytesMax])
        assert.isBelow(process.memoryUsage().rss - before, 60 * 1024 * 1024)
        assert.deepStrictEqual(files(), [])
        const announced = yield* Effect.callback<string>((resume) => {
          const socket = connect(server.port, "127.0.0.1", () =>
            socket.write(
              `POST /api/v1/devices/dev_${"0".repeat(26)}/files HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\n` +
                `content-length: ${1024 ** 3}\r\n\r\n`
            ))
          socket.on("data", (data) => resume(Effect.succeed(String(data)))).on("error", () => {})
          return Effect.sync(() => socket.destroy())
        })
        assert.include(announced, "413")
      })
  )

  it.live("leave nothing if their upload breaks off, and are refused if empty", () =>
    Effect.gen(function*() {
      const { device, files, server, upload } = yield* setup()
      const socket = yield* Effect.acquireRelease(
        Effect.sync(() => connect(server.port, "127.0.0.1")),
        (open) => Effect.sync(() => open.destroy())
      )
      socket.write(
        `POST /api/v1/devices/${device}/files HTTP/1.1\r\nhost: 127.0.0.1:${server.port}\r\n` +
          "content-length: 100000\r\n\r\nonly this"
      )
      yield* until("the file is begun", Effect.sync(() => files().some((name) => name.endsWith(".part"))))
      socket.destroy()
      yield* until("it is gone", Effect.sync(() => files().length === 0))
      const { body, status } = yield* upload("")
      assert.deepStrictEqual([status, body._tag, body.reason], [422, "FileInvalid", "empty"])
    }))

  it.live("are covered by the idempotency key, and a repeat is answered when the file is gone", () =>
    Effect.gen(function*() {
      const { device, outbox, post, upload } = yield* setup()
      const headers = { "idempotency-key": "k1" }
      const one = (yield* upload(bytesOf(fileBytes("image", 500)))).body.id
      const other = (yield* upload(bytesOf(fileBytes("image", 501)))).body.id
      const first = yield* post({ to, image: { file: one } }, headers)
      assert.strictEqual(first.status, 202)
      assert.deepStrictEqual((yield* post({ to, image: { file: one } }, headers)).body, first.body)
      assert.strictEqual((yield* post({ to, image: { file: other } }, headers)).body._tag, "IdempotencyKeyReused")
      rmSync(join(outbox, device), { recursive: true })
      assert.deepStrictEqual((yield* post({ to, image: { file: one } }, headers)).body, first.body)
      assert.strictEqual((yield* post({ to, image: { file: other } }, headers)).body._tag, "IdempotencyKeyReused")
      assert.strictEqual((yield* post({ to, image: { file: one } })).body._tag, "FileNotFound")
    }))

  it.live("are refused by a process that runs no devices, which names where to send them", () =>
    Effect.gen(function*() {
      const { post, upload } = yield* setup({ apart: true })
      for (const answer of [yield* upload("x"), yield* post({ to, image: { file: `file_${"0".repeat(26)}` } })]) {
        assert.deepStrictEqual([answer.status, answer.body._tag], [421, "UploadMisdirected"])
      }
      assert.strictEqual((yield* post({ to, image: { url: "http://127.0.0.1:9/a.jpg" } })).status, 202)
    }))

  it.live("of other devices are hidden from a key, and a key without the scope send uploads none", () =>
    Effect.gen(function*() {
      const limited = `dev_${"Z".repeat(26)}` as DeviceId
      const { manager, post, upload } = yield* setup({
        keys: [["all", ["send"], "all"], ["reader", ["read"], "reader"], ["limited", ["send"], "limited", [limited]]]
      })
      const as = (key: string) => ({ authorization: `Bearer ${key}` })
      const mine = yield* upload(bytesOf(fileBytes("image")), as("all"))
      assert.strictEqual(mine.status, 201)
      assert.strictEqual((yield* upload("x")).status, 401)
      assert.strictEqual((yield* upload("x", as("reader"))).status, 403)
      assert.strictEqual((yield* upload("x", as("limited"))).body._tag, "DeviceNotFound")
      assert.strictEqual((yield* upload("x", as("limited"), limited)).body._tag, "DeviceNotFound")
      const other = (yield* Effect.orDie(manager.register({ name: "other" }))).id
      const stolen = yield* post({ to, image: { file: mine.body.id } }, as("all"), other)
      assert.strictEqual(stolen.body._tag, "FileNotFound")
    }))

  it.live("have the same names over RPC as over HTTP", () =>
    Effect.gen(function*() {
      const { device, server, upload } = yield* setup()
      const { id } = (yield* upload(bytesOf(fileBytes("document")))).body
      const message = yield* Effect.flatMap(
        ColumbaClient,
        ({ messages }) =>
          messages.send({ id: device, to, document: { file: id, fileName: "../a.pdf", caption: "see" } })
      ).pipe(Effect.provide(ColumbaClient.layerHttp({ url: server.url })), Effect.orDie)
      assert.deepStrictEqual([message.type, message.body, message.status], ["document", "see", "pending"])
      assert.strictEqual(MediaKind.literals.length, 6)
    }))
})
