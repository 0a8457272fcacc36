/** The files of messages: complete, and only those of the requested message. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Stream } from "effect"
import type { MessageData } from "../../../src/domain/EventData.ts"
import type { MessageId } from "../../../src/domain/Ids.ts"
import { makeSamples } from "../../../src/simulator/samples.ts"
import { ofKind } from "../../support/drafts.ts"
import { type Adapter, type Having, target } from "./harness.ts"
import { now, setupWebhook } from "./webhooks.ts"

const bytesOf = (content: Stream.Stream<Uint8Array, unknown>) =>
  Effect.map(Stream.runCollect(content), (chunks) => Buffer.concat([...chunks]))

export const mediaConformance = (adapter: Adapter<Having<"ingest" | "webhook" | "media">>): void => {
  describe(`${adapter.name}: the file of a message`, () => {
    it.live("is returned complete for every message that has one, also when requested again", () =>
      Effect.gen(function*() {
        const { core, device, drafts, gateway, receiver } = yield* setupWebhook(adapter)
        for (const { event, payload } of makeSamples(device.jid!, now)) core.emitter.emit(device, event, payload)
        yield* receiver.until(({ length }) => length >= core.stats().frames)
        const messages = drafts().flatMap((draft) =>
          draft.kind === "message.received" && draft.data.media !== undefined ? [draft.data] : []
        )
        assert.isAbove(messages.length, 5)
        for (const message of [...messages, ...messages]) {
          const file = yield* gateway.media(target, message)
          const bytes = yield* bytesOf(file.content)
          assert.isAbove(bytes.length, 0)
          if (file.size !== null) assert.strictEqual(bytes.length, file.size)
        }
      }).pipe(Effect.scoped))

    it.live("is missing if the message has none, or the gateway does not know it", () =>
      Effect.gen(function*() {
        const { core, device, drafts, gateway, receiver } = yield* setupWebhook(adapter)
        const [text] = makeSamples(device.jid!, now)
        core.emitter.emit(device, text!.event, text!.payload)
        const received = () => drafts().find(({ kind }) => kind === "message.received")
        yield* receiver.until(() => received() !== undefined)
        const { data } = ofKind(received(), "message.received")
        assert.strictEqual((yield* Effect.flip(gateway.media(target, data)))._tag, "MediaUnavailable")
        const unknown: MessageData = {
          messageId: "msg_0" as MessageId,
          waId: "3EB0NOBODY",
          chat: "628999000111@s.whatsapp.net",
          sender: "628999000111@s.whatsapp.net",
          fromMe: false,
          type: "image",
          body: null,
          media: { kind: "image" }
        }
        assert.deepInclude(yield* Effect.flip(gateway.media(target, unknown)), {
          _tag: "MediaUnavailable",
          reason: "gone"
        })
        for (const path of ["../../etc/passwd", "statics/../devices", "http://elsewhere/x", "devices", ""]) {
          const hostile = { ...unknown, extra: { image: path, media: { url: path } } }
          assert.strictEqual((yield* Effect.flip(gateway.media(target, hostile)))._tag, "MediaUnavailable", path)
        }
      }).pipe(Effect.scoped))
  })
}
