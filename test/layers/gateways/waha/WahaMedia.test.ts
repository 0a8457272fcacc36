/** The files of messages: where they are fetched, and what happens if the server has deleted them. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { MessageData } from "../../../../src/domain/EventData.ts"
import type { GatewayParts } from "../../../../src/services/WhatsAppGateway.ts"
import { ofKind } from "../../../support/drafts.ts"
import { record } from "../../../support/gateway.ts"
import { say, setup, target } from "./bench.ts"

const picture = { image: { path: "statics/x.jpe" }, body: "look" }

const read = (gateway: Required<Pick<GatewayParts, "media">>, message: MessageData) =>
  Effect.scoped(Effect.gen(function*() {
    const { content, fileName, mimeType, size } = yield* gateway.media(target, message)
    const bytes = yield* Stream.runFold(content, () => "", (text, chunk) => text + Buffer.from(chunk).toString())
    return { bytes, fileName, mimeType, size }
  }))

const heardMessage = Effect.fnUntraced(function*(
  clock: { now: number },
  content: Readonly<Record<string, unknown>>
) {
  const bench = yield* setup({ now: () => clock.now }, { hiddenIds: false })
  const listener = record()
  yield* bench.gateway.open(target, listener)
  bench.core.emitter.emit(
    bench.device,
    "message",
    say("PIC", { ...content, timestamp: new Date(clock.now).toISOString() })
  )
  yield* listener.until(() => listener.drafts().length === 1)
  return { ...bench, message: ofKind(listener.drafts()[0], "message.received").data }
})

describe("the file of a WAHA message", () => {
  it.live("is fetched from the gateway's own address, whatever host the message names", () =>
    Effect.gen(function*() {
      const { gateway, message } = yield* heardMessage({ now: Date.UTC(2026, 7, 22) }, picture)
      assert.include(JSON.stringify(message.extra), "http://waha.internal:3000/api/files/sim-1/PIC.jpeg")
      assert.deepStrictEqual(yield* read(gateway, message), {
        bytes: "file PIC",
        fileName: null,
        mimeType: "image/jpeg",
        size: 8
      })
    }))

  it.live("has the sender's file name", () =>
    Effect.gen(function*() {
      const { gateway, message } = yield* heardMessage({ now: Date.UTC(2026, 7, 22) }, { document: {} })
      assert.strictEqual((yield* read(gateway, message)).fileName, "Invoice.pdf")
    }))

  it.live("is downloaded again once the server has deleted it, and missing once the message is deleted", () =>
    Effect.gen(function*() {
      const clock = { now: Date.UTC(2026, 7, 22) }
      const { core, device, gateway, message, waha } = yield* heardMessage(clock, picture)
      clock.now += 3_600_000
      assert.strictEqual((yield* read(gateway, message)).bytes, "file PIC")
      assert.isTrue(waha.requests.some((line) => line.includes("/messages/")))
      clock.now += 3_600_000
      core.emitter.emit(device, "message.revoked", {
        revoked_message_id: "PIC",
        chat_id: message.chat,
        from: message.chat
      })
      const gone = yield* Effect.flip(read(gateway, message))
      assert.deepInclude(gone as object, { _tag: "MediaUnavailable", reason: "gone" })
    }))

  it.live("is requested from no other host and no other path", () =>
    Effect.gen(function*() {
      const { gateway, message, waha } = yield* heardMessage({ now: Date.UTC(2026, 7, 22) }, picture)
      for (
        const url of [
          "http://waha.internal:3000/api/sessions",
          "http://x/api/files/../sessions",
          "http://x/api/files/%2e%2e/sessions",
          "http://x/api/files/a//b",
          "http://x/api/files/%ff",
          "file:///etc/passwd",
          "no url"
        ]
      ) {
        const before = waha.requests.length
        const found = yield* read(gateway, { ...message, extra: { media: { url } } })
        assert.strictEqual(found.bytes, "file PIC", "by the message instead")
        const asked = waha.requests.slice(before)
        assert.deepStrictEqual(asked.map((line) => line.split("/")[2]), ["sim-1", "files"])
      }
    }))

  it.live("is missing if the message has none", () =>
    Effect.gen(function*() {
      const { gateway, message } = yield* heardMessage({ now: Date.UTC(2026, 7, 22) }, {})
      const none = yield* Effect.flip(read(gateway, message))
      assert.deepInclude(none as object, { _tag: "MediaUnavailable", reason: "none" })
    }))
})
