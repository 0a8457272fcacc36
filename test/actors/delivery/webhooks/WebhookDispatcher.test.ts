/** What subscribers get, over real HTTP. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import { Webhook } from "standardwebhooks"
import { toWire } from "../../../../src/domain/Event.ts"
import { freshDevice } from "../../../support/drafts.ts"
import * as Receiver from "../../../support/subscriber.ts"
import * as Rig from "./rig.ts"

const assertInOrderOfDevice = (received: ReadonlyArray<Receiver.Received>) => {
  const last = new Map<string, number>()
  for (const { deviceId, seq } of received) {
    assert.isAbove(seq, last.get(deviceId) ?? 0)
    last.set(deviceId, seq)
  }
}

describe("a subscriber", () => {
  it.live("gets every event, in order for each device, as the API gives it, with a signature that verifies", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const receiver = yield* Receiver.start()
      yield* rig.emit(3)
      const { id, secret } = yield* rig.subscribe(receiver.url, {
        from: "beginning",
        headers: { authorization: Redacted.make("Bearer of-the-receiver") }
      })
      yield* rig.dispatch
      const devices = Array.from({ length: 10 }, freshDevice)
      const emitted = yield* rig.emit(300, devices)
      yield* receiver.until(() => receiver.taken().length === 303)
      assertInOrderOfDevice(receiver.taken())
      assert.lengthOf(receiver.received, 303)
      const { events } = yield* rig.log.read({ after: 0, limit: 1000 })
      const webhook = new Webhook(Redacted.value(secret))
      for (const { headers, text } of receiver.received) {
        const event = webhook.verify(text, headers as Record<string, string>) as { id: string; seq: string }
        const logged = events.find(({ seq }) => seq === Number(event.seq))!
        assert.strictEqual(text, toWire(logged))
        assert.strictEqual(headers["webhook-id"], logged.id)
        assert.deepInclude(headers, { authorization: "Bearer of-the-receiver", "content-type": "application/json" })
      }
      const row = yield* rig.untilRow(id, ({ behind }) => behind === 0)
      assert.strictEqual(row.position, String(emitted.at(-1)!))
      const { items } = yield* Effect.orDie(rig.manager.deliveries(id, { limit: 1000 }, undefined))
      assert.isAbove(items.length, 0)
      assert.deepInclude(items[0], { outcome: "delivered", status: 204, attempt: 1 })
    }))

  it.live("gets only the kinds and devices that it has asked for, and moves past the others", () =>
    Effect.gen(function*() {
      const rig = yield* Rig.make()
      const [mine, other] = [freshDevice(), freshDevice()]
      const receiver = yield* Receiver.start()
      const { id } = yield* rig.subscribe(receiver.url, { devices: [mine], kinds: ["message.received"] })
      yield* rig.dispatch
      yield* rig.emit(10, [mine, other])
      yield* rig.untilRow(id, ({ behind }) => behind === 0)
      assert.deepStrictEqual([...new Set(receiver.received.map(({ deviceId }) => deviceId))], [mine])
      assert.lengthOf(receiver.received, 5)
    }))
})
