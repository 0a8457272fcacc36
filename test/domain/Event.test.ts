import { assert, describe, it } from "@effect/vitest"
import { Schema } from "effect"
import { Event, toWire } from "../../src/domain/Event.ts"
import { eventKinds } from "../../src/domain/EventKinds.ts"
import type { EventContent, LoggedEvent } from "../../src/domain/Event.ts"
import { freshDevice, stateDraft } from "../support/drafts.ts"

const decode = Schema.decodeUnknownSync(Event)

describe("the table of event kinds", () => {
  it("has each kind once, with an example that decodes only as an event of this kind", () => {
    for (const { example } of eventKinds) {
      assert.strictEqual(decode(example).kind, example.kind)
      const accepting = eventKinds.filter(({ event }) => Schema.is(Schema.toEncoded(event))(example))
      assert.deepStrictEqual(accepting.map((entry) => entry.example.kind), [example.kind])
    }
  })

  it("describes each kind in one sentence", () => {
    for (const { sentence } of eventKinds) assert.match(sentence, /^[A-Z][^.]+\.$/)
  })

  it("has its examples in the wire form of the log", () => {
    for (const { example } of eventKinds) {
      const { data, ...rest } = decode(example)
      const logged: LoggedEvent = { ...rest, data: JSON.stringify(data), bytes: 0 }
      assert.strictEqual(toWire(logged), JSON.stringify(example))
    }
  })

  it("ties a kind to its data: the compiler refuses the data of another kind", () => {
    const { data } = stateDraft(freshDevice(), "Inactive")
    const right: EventContent = { kind: "device.state", data }
    // @ts-expect-error -- the data of a transition is not that of a message
    const wrong: EventContent = { kind: "message.received", data }
    assert.notStrictEqual(right.kind, wrong.kind)
  })
})
