import { assert, describe, it } from "@effect/vitest"
import { clusters, matchSent } from "../../../src/actors/sending/matchSent.ts"
import type { Doubt, Found } from "../../../src/actors/sending/matchSent.ts"
import type { MessageId } from "../../../src/domain/Ids.ts"

const chat = "6281298765432@s.whatsapp.net"

const doubt = (id: string, text: string, change: Partial<Doubt> = {}): Doubt => ({
  id: id as MessageId,
  chat,
  content: { type: "text", text },
  from: 1000,
  to: 2000,
  ...change
})

const found = (waId: string, body: string, change: Partial<Found> = {}): Found => ({
  waId,
  chat,
  type: "text",
  body,
  at: 1500,
  ...change
})

const match = (doubts: ReadonlyArray<Doubt>, all: ReadonlyArray<Found>) => Object.fromEntries(matchSent(doubts, all))

describe("a message in doubt", () => {
  it("matches a message sent to the same chat, with the same text, in the time in question", () => {
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "hello")]), { a: "W" })
    assert.deepStrictEqual(match([doubt("a", "hello ")], [found("W", "hello")]), { a: "W" }, "spaces at its ends")
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "other")]), {})
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "hello", { at: 999 })]), {})
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "hello", { at: 2001 })]), {})
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "hello", { chat: "6281@s.whatsapp.net" })]), {})
  })

  it("gets at most one match, in order, and two never share one", () => {
    const two = [doubt("b", "hello", { from: 1100 }), doubt("a", "hello")]
    assert.deepStrictEqual(match(two, [found("W2", "hello", { at: 1600 }), found("W1", "hello")]), { a: "W1", b: "W2" })
    assert.deepStrictEqual(match(two, [found("W1", "hello")]), { a: "W1" })
  })

  it("may be found under the hidden id of its chat, but never in a group instead of it", () => {
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "hello", { chat: "2515@lid" })]), { a: "W" })
    const both = [found("L", "hello", { chat: "2515@lid", at: 1400 }), found("W", "hello")]
    assert.deepStrictEqual(match([doubt("a", "hello")], both), { a: "W" }, "the same spelling first")
    assert.deepStrictEqual(match([doubt("a", "hello")], [found("W", "hello", { chat: "1203@g.us" })]), {})
  })

  it("is only compared together with others of the same time", () => {
    const all = [doubt("c", "", { from: 9000, to: 9500 }), doubt("a", ""), doubt("b", "", { from: 2000, to: 2500 })]
    assert.deepStrictEqual(clusters(all, (one) => one).map((some) => some.map(({ id }) => String(id))), [["a", "b"], [
      "c"
    ]])
    assert.deepStrictEqual(clusters([], (one: Doubt) => one), [])
  })

  it("is recognised by its label if a history does not have its text", () => {
    const location = doubt("a", "", { content: { type: "location", location: { latitude: 1, longitude: 2 } } })
    assert.deepStrictEqual(match([location], [found("W", "📍 1, 2")]), { a: "W" })
    assert.deepStrictEqual(match([location], [found("W", "hello")]), {})
  })
})
