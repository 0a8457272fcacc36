import { assert, describe, it } from "@effect/vitest"
import { encodeFrame } from "../../src/simulator/bridge/frames.ts"
import { scenario } from "../../src/simulator/Scenario.ts"

const now = Date.UTC(2026, 7, 22, 12)

const play = (seed: string, device: string, count: number) => {
  const events = scenario(seed, device)
  return Array.from({ length: count }, (_, index) => events.next(now + index * 1000))
}

const bytes = (seed: string, device: string) =>
  play(seed, device, 500).map(({ event, payload }) => encodeFrame(device, event, payload)).join("\n")

describe("a scenario", () => {
  it("is the same to the byte for the same seed and device, and different for any other", () => {
    assert.strictEqual(bytes("a", "sim-1"), bytes("a", "sim-1"))
    assert.notStrictEqual(bytes("a", "sim-1"), bytes("b", "sim-1"))
    assert.notStrictEqual(bytes("a", "sim-1"), bytes("a", "sim-2"))
  })

  it("emits in the order of its own time, and announces when the next event is due", () => {
    const events = scenario("time", "sim-1")
    let last = 0
    for (let index = 0; index < 1000; index++) {
      const due = events.nextAt()
      const { at } = events.next(now)
      assert.strictEqual(at, due)
      assert.isAtLeast(at, last)
      last = at
    }
  })

  it("has acks and edits only for earlier messages, delivered before read", () => {
    const seen = new Set<string>()
    const delivered = new Set<string>()
    for (const { event, payload } of play("order", "sim-1", 5000)) {
      if (event === "message") seen.add(String(payload.id))
      if (event === "message.ack") {
        for (const id of payload.ids as ReadonlyArray<string>) {
          assert.isTrue(seen.has(id))
          if (payload.receipt_type === "delivered") delivered.add(id)
          else if (payload.from === payload.chat_id) assert.isTrue(delivered.has(id))
        }
      }
      const target = payload.reacted_message_id ?? payload.original_message_id ?? payload.revoked_message_id
      if (target !== undefined) assert.isTrue(seen.has(String(target)))
    }
  })

  it("has all kinds of events, and no message id twice", () => {
    const events = play("kinds", "sim-1", 5000)
    const kinds = new Set(events.map(({ event }) => event))
    const all = ["chat_presence", "message", "message.ack", "message.edited", "message.reaction", "message.revoked"]
    assert.deepStrictEqual([...kinds].sort(), all)
    const ids = events.flatMap(({ payload }) => payload.id === undefined ? [] : [String(payload.id)])
    assert.strictEqual(new Set(ids).size, ids.length)
    for (const field of ["image", "audio", "video", "document", "sticker", "location", "contact"]) {
      assert.isTrue(events.some(({ payload }) => field in payload), field)
    }
  })
})
