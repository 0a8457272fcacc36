/**
 * The program is killed around a message with a file: while it is uploaded, between the upload and the message, and while the
 * gateway has it. The gateway's ledger is the witness.
 */
import { connect } from "node:net"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { start as startSimulator } from "../../src/simulator/SimulatedGateway.ts"
import { freshDatabase } from "../support/database.ts"
import { freshDirectory } from "../support/directory.ts"
import { fileBytes, hashOf } from "../support/files.ts"
import { until, untilSo } from "../support/until.ts"
import * as ColumbaProcess from "./support/ColumbaProcess.ts"

interface Sent {
  readonly id: string
  readonly status: string
  readonly waId: string | null
}

const setup = Effect.gen(function*() {
  const { core, url } = yield* Effect.orDie(startSimulator({ seed: "files" }))
  const columba = yield* ColumbaProcess.make({
    directory: yield* freshDirectory,
    env: { WHATSAPP_API_URL: url, DATABASE_URL: yield* freshDatabase }
  })
  yield* columba.start
  const { id } = yield* columba.post<{ readonly id: string }>("/api/v1/devices", { name: "one", upstreamId: "slot-1" })
  const online = until("the device is online", Effect.sync(() => core.stats().sockets === 1))
  yield* online
  const upload = (bytes: Buffer) =>
    Effect.promise(async () => {
      const body = new Uint8Array(bytes)
      const answer = await fetch(`${columba.url}/api/v1/devices/${id}/files`, { method: "POST", body })
      return (await answer.json() as { readonly id: string }).id
    })
  const send = (file: string, caption: string, change: object = {}) =>
    columba.post<Sent>(`/api/v1/devices/${id}/messages`, { to: "6281298765432", image: { file, caption }, ...change })
  const become = (message: Sent, ...statuses: ReadonlyArray<string>) =>
    untilSo(
      `the message is ${statuses.join(" or ")}`,
      columba.get<Sent>(`/api/v1/messages/${message.id}`),
      ({ status }) => statuses.includes(status)
    )
  const sent = () => core.ledger.entries().flatMap(({ id, sent }) => sent === undefined ? [] : [{ id, ...sent }])
  return { core, columba, id, online, upload, send, become, sent }
})

describe("killed around a message with a file", () => {
  it.live(
    "keeps an upload that was answered with 201 for its message, and lets others be uploaded again",
    () =>
      Effect.gen(function*() {
        const { become, columba, id, send, sent, upload } = yield* setup
        const bytes = fileBytes("image", 400_000)
        const file = yield* upload(bytes)
        yield* columba.kill
        yield* columba.start
        // Accepted, and surely not claimed yet.
        const message = yield* send(file, "one", { scheduledAt: new Date(Date.now() + 3000).toISOString() })
        yield* columba.kill
        yield* columba.start
        yield* become(message, "sent", "delivered")
        assert.deepStrictEqual(sent().map(({ file, text }) => [text, file?.hash]), [["one", hashOf(bytes)]])

        const half = yield* Effect.acquireRelease(
          Effect.sync(() => connect(Number(new URL(columba.url).port), "127.0.0.1")),
          (socket) => Effect.sync(() => socket.destroy())
        )
        half.on("error", () => {}).write(
          `POST /api/v1/devices/${id}/files HTTP/1.1\r\nhost: ${
            new URL(columba.url).host
          }\r\ncontent-length: 500000\r\n\r\n`
        )
        half.write(bytes)
        yield* columba.kill
        yield* columba.start
        const again = yield* upload(Buffer.concat([bytes, Buffer.alloc(100_000)]))
        yield* become(yield* send(again, "two"), "sent", "delivered")
        assert.deepStrictEqual(sent().map(({ file, text }) => [text, file?.size]), [["one", 400_000], ["two", 500_000]])
      })
  )

  it.live(
    "leaves a message that the gateway had in doubt, finds it in the history by its caption, and sends it once",
    () =>
      Effect.gen(function*() {
        const { become, columba, core, send, sent, upload } = yield* setup
        core.applyFault({ kind: "send", when: "after", answer: "none", times: 1 })
        const message = yield* send(yield* upload(fileBytes("image")), "the only one of its kind")
        yield* until("the gateway has sent it", Effect.sync(() => sent().length === 1))
        yield* columba.kill
        yield* columba.start
        const found = yield* become(message, "sent", "delivered")
        assert.deepStrictEqual(sent().map(({ id }) => id), [found.waId])
      })
  )
})
