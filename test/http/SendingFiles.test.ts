/** Messages with files: from an upload or a URL over the whole server to each gateway, and through restarts. */
import { readdirSync, rmSync } from "node:fs"
import type { ServerResponse } from "node:http"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { GatewayDialect } from "../../src/domain/Gateway.ts"
import type { DeviceId } from "../../src/domain/Ids.ts"
import * as SimulatedGateway from "../../src/simulator/SimulatedGateway.ts"
import { freshDirectory } from "../support/directory.ts"
import { serveFile } from "../support/fileServer.ts"
import { fileBytes, hashOf } from "../support/files.ts"
import * as RealGateway from "../support/realGateway.ts"
import { freePort } from "../support/servers/ServerHome.ts"
import { ask, makeStorage } from "../support/surface.ts"
import type { Json } from "../support/surface.ts"
import { until, untilSo } from "../support/until.ts"

const to = "6281298765432"

const setup = Effect.fnUntraced(function*(dialect: GatewayDialect = "bridge") {
  const simulator = yield* Effect.orDie(SimulatedGateway.start({ dialect, devices: 1 }))
  const directory = join(yield* freshDirectory, "outbox")
  const storage = yield* makeStorage
  const start = (outbound: { readonly silenceMillis?: number; readonly allowPrivate?: boolean } = {}) =>
    Effect.flatMap(freePort, (port) =>
      RealGateway.start({ dialect, url: simulator.url, user: null, secrets: {} }, {
        port,
        storage,
        outbox: { directory },
        outbound
      }))
  const sent = () => simulator.core.ledger.entries().flatMap(({ sent }) => sent === undefined ? [] : [sent])
  const open = (server: RealGateway.RunningServer, id: DeviceId) => ({
    upload: (bytes: Buffer) =>
      Effect.map(
        ask(`${server.url}/api/v1/devices/${id}/files`, { method: "POST", body: new Uint8Array(bytes) }),
        ({ body }): string => body.id
      ),
    post: (json: Json) =>
      Effect.map(
        ask(`${server.url}/api/v1/devices/${id}/messages`, { method: "POST", json }),
        ({ body }): Json => body
      ),
    become: (message: Json, status: string): Effect.Effect<Json> =>
      untilSo(
        `the message is ${status}`,
        Effect.map(ask(`${server.url}/api/v1/messages/${message.id}`), ({ body }): Json => body),
        (body) => body.status === status,
        "20 seconds"
      )
  })
  const left = (id: DeviceId) => readdirSync(join(directory, id))
  return { ...simulator, directory, storage, start, sent, open, left }
})

const begin = Effect.fnUntraced(function*(dialect: GatewayDialect = "bridge", outbound = {}) {
  const bench = yield* setup(dialect)
  const server = yield* bench.start(outbound)
  const id = yield* server.register("sim-1")
  yield* server.become(id, "Online")
  return { ...bench, server, id, ...bench.open(server, id) }
})

const give = (bytes: Buffer, headers: Record<string, string> = {}) => (response: ServerResponse) =>
  response.writeHead(200, { "content-length": bytes.length, ...headers }).end(bytes)

describe("messages with files", () => {
  it.live.each(["bridge", "gowa", "waha"] as const)(
    "are sent as they were uploaded, through %s",
    (dialect) =>
      Effect.gen(function*() {
        const { become, post, sent, server, upload } = yield* begin(dialect)
        const bytes = fileBytes("document", 123_457)
        const file = yield* upload(bytes)
        const message = yield* post({
          to,
          document: { file, caption: "the list", fileName: "/tmp/../price\r\nlist.pdf" }
        })
        const { waId } = yield* become(message, dialect === "gowa" ? "sent" : "delivered")
        assert.deepStrictEqual(sent().map(({ chat, file, text }) => [chat, text, file?.hash, file?.name, file?.type]), [
          [`${to}@s.whatsapp.net`, "the list", hashOf(bytes), "price__list.pdf", "application/pdf"]
        ])
        const told = (yield* server.logged).filter(({ kind }) => kind === "message.sent")
        assert.deepStrictEqual(told.map(({ data }) => [data.waId, data.type, data.body]), [[
          waId,
          "document",
          "the list"
        ]])
      })
  )

  it.live("are fetched from their URL when they are sent, and the fetched file is not kept", () =>
    Effect.gen(function*() {
      const { become, id, left, post, sent } = yield* begin()
      const bytes = fileBytes("image", 50_000)
      // The server's name for it decides nothing.
      const server = yield* serveFile(give(bytes, { "content-type": "text/html" }))
      yield* become(yield* post({ to, image: { url: server.url, caption: "look" } }), "delivered")
      assert.deepStrictEqual(sent().map(({ file }) => [file?.hash, file?.type]), [[hashOf(bytes), "image/jpeg"]])
      yield* until("what was fetched is gone", Effect.sync(() => left(id).length === 0))
      assert.strictEqual(server.requests.length, 1)
    }))

  it.live(
    "fail with the reason if the URL gives no file that can be sent so, and delay no other chat",
    () =>
      Effect.gen(function*() {
        const { become, post, sent } = yield* begin("bridge", { silenceMillis: 200 })
        const answers: ReadonlyArray<readonly [reason: string, answer: (response: ServerResponse) => void]> = [
          ["file-unavailable", (response) => response.writeHead(404).end()],
          ["file-unavailable", (response) => response.writeHead(302, { location: "http://169.254.169.254/" }).end()],
          ["file-invalid", give(Buffer.from("<html>not found</html>"), { "content-type": "image/jpeg" })],
          ["file-invalid", (response) => response.writeHead(200, { "content-length": 20_000_001 }).end()],
          ["file-invalid", (response) => {
            const endless = () => {
              while (!response.destroyed && response.write(Buffer.alloc(1024 * 1024))) continue
            }
            response.on("drain", endless).writeHead(200)
            endless()
          }],
          // Sends little, and then nothing more.
          ["file-unavailable", (response) => {
            response.writeHead(200, { "content-length": 1000 }).write("\xff\xd8")
          }]
        ]
        const messages: Array<readonly [Json, string]> = []
        for (const [index, [reason, answer]] of answers.entries()) {
          const { url } = yield* serveFile(answer)
          messages.push([yield* post({ to: `6281200000${index}`, image: { url } }), reason])
        }
        yield* become(yield* post({ to, text: "in the meantime" }), "delivered")
        for (const [message, reason] of messages) {
          const { sending } = yield* become(message, "failed")
          assert.strictEqual(sending.reason, reason, sending.detail)
          assert.notInclude(sending.detail, "127.0.0.1")
        }
        assert.deepStrictEqual(sent().map(({ text }) => text), ["in the meantime"])
      })
  )

  it.live("are not fetched from a name that has a private address by the time of sending", () =>
    Effect.gen(function*() {
      const { open, server, start, ...bench } = yield* begin()
      const files = yield* serveFile(give(fileBytes("image")))
      const message = yield* bench.post({
        to,
        image: { url: files.url },
        scheduledAt: new Date(Date.now() + 3000).toISOString()
      })
      yield* server.stop
      const next = yield* start({ allowPrivate: false })
      const { sending } = yield* open(next, bench.id).become(message, "failed")
      assert.deepStrictEqual([sending.reason, files.requests.length], ["file-invalid", 0])
    }))

  it.live(
    "leave no doubt if their process ends while it fetches a file: it is fetched again, and sent once",
    () =>
      Effect.gen(function*() {
        const { id, open, post, sent, server, start } = yield* begin()
        const bytes = fileBytes("image", 5000)
        let hold = true
        const files = yield* serveFile((response) => {
          response.writeHead(200, { "content-length": bytes.length })
          if (hold) response.write(bytes.subarray(0, 100))
          else response.end(bytes)
        })
        const message = yield* post({ to, image: { url: files.url } })
        yield* until("it is fetched", Effect.sync(() => files.requests.length === 1))
        yield* server.stop
        hold = false
        const next = yield* start()
        const after = yield* open(next, id).become(message, "delivered")
        assert.deepStrictEqual([after.sending.attempts, files.requests.length], [2, 2])
        assert.deepStrictEqual(sent().map(({ file }) => file?.hash), [hashOf(bytes)])
      })
  )

  it.live("keep an upload over a restart, and report a lost file", () =>
    Effect.gen(function*() {
      const { directory, id, open, post, sent, server, start, upload } = yield* begin()
      const bytes = fileBytes("image", 5000)
      const scheduledAt = new Date(Date.now() + 2000).toISOString()
      const message = yield* post({ to, image: { file: yield* upload(bytes) }, scheduledAt })
      const other = yield* upload(fileBytes("image", 5001))
      const lost = yield* post({ to, image: { file: other }, scheduledAt })
      yield* server.stop
      rmSync(join(directory, id, other))
      const next = yield* start()
      yield* open(next, id).become(message, "delivered")
      const { sending } = yield* open(next, id).become(lost, "failed")
      assert.strictEqual(sending.reason, "file-lost")
      assert.deepStrictEqual(sent().map(({ file }) => file?.hash), [hashOf(bytes)])
    }))
})
