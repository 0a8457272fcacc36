/** The contract of every store of automatic reply settings. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect } from "effect"
import type { Layer } from "effect"
import { autoReplyDefaults } from "../../src/domain/AutoReply.ts"
import { GatewayName, MessageId, UpstreamId } from "../../src/domain/Ids.ts"
import { AutoReplyRepository, replyKeyPrefix } from "../../src/services/AutoReplyRepository.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { SendRepository } from "../../src/services/SendRepository.ts"
import { freshDevice } from "../support/drafts.ts"

const chat = "628111000111@s.whatsapp.net"

export const autoRepliesConformance = (
  name: string,
  storage: Layer.Layer<AutoReplyRepository | DeviceRepository | SendRepository>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`answers by a model ${name}`, (it) => {
    const registered = Effect.gen(function*() {
      const id = freshDevice()
      const devices = yield* DeviceRepository
      yield* devices.insert({ id, name: "desk", gateway: GatewayName.make("default"), upstreamId: UpstreamId.make(id) })
      return id
    })

    it.effect("are off by default; a change keeps the fields that it does not name; an unknown device has none", () =>
      Effect.gen(function*() {
        const settings = yield* AutoReplyRepository
        const id = yield* registered
        assert.deepStrictEqual(yield* settings.get(id), autoReplyDefaults(id))
        assert.deepInclude(yield* settings.edit(id, { prompt: "Be br\0ief.", window: 0 }), {
          enabled: false,
          window: 0
        })
        const { updatedAt, ...kept } = yield* settings.edit(id, { enabled: true, dailyLimit: 7 })
        assert.deepInclude(kept, { deviceId: id, enabled: true, window: 0, dailyLimit: 7 })
        assert.isBelow(Math.abs(Date.parse(updatedAt ?? "") - Date.now()), 60_000)
        assert.deepStrictEqual(yield* settings.get(id), { ...kept, updatedAt })
        const absent = freshDevice()
        assert.strictEqual((yield* Effect.flip(settings.get(absent)))._tag, "DeviceNotFound")
        assert.strictEqual((yield* Effect.flip(settings.edit(absent, { enabled: true })))._tag, "DeviceNotFound")
      }))

    it.effect("are counted per device and chat, without messages that people send", () =>
      Effect.gen(function*() {
        const settings = yield* AutoReplyRepository
        const sends = yield* SendRepository
        const [id, other] = [yield* registered, yield* registered]
        const accept = (device: typeof id, to: string, key: string | null) =>
          sends.accept({
            id: MessageId.make(`msg_${freshDevice().slice(4)}`),
            deviceId: device,
            chat: to,
            sender: "",
            body: { content: { type: "text", text: "hello" }, replyTo: null, mentions: [] },
            onUnknown: "report",
            scheduledAt: null,
            grace: Duration.hours(1),
            idempotency: key === null ? null : { key, digest: "0".repeat(32) }
          })
        yield* accept(id, chat, null)
        yield* accept(id, chat, "order-4711")
        yield* accept(id, "628222000222@s.whatsapp.net", `${replyKeyPrefix}elsewhere`)
        yield* accept(other, chat, `${replyKeyPrefix}other`)
        assert.deepStrictEqual(yield* settings.answers(id, chat), [])
        yield* accept(id, chat, `${replyKeyPrefix}one`)
        yield* accept(id, chat, `${replyKeyPrefix}two`)
        yield* accept(id, chat, `${replyKeyPrefix}two`)
        const ages = yield* settings.answers(id, chat)
        assert.strictEqual(ages.length, 2)
        assert.isTrue(ages.every((ago) => ago >= 0 && ago < 60_000))
        yield* settings.lock(id, chat)
      }))
  })
}
