import { assert, describe, it } from "@effect/vitest"
import { checkSends } from "./SendChecker.ts"

const sound = {
  accepted: [{ text: "a", id: "1" }, { text: "b", id: "2" }, { text: "c", id: "3" }, { text: "d", id: "4" }],
  statuses: [
    { id: "1", waId: "A", status: "sent" },
    { id: "2", waId: "B", status: "read" },
    { id: "3", waId: null, status: "failed" },
    { id: "4", waId: null, status: "unknown" }
  ],
  sent: [["a", "A"], ["b", "B"], ["d", "D"]] as const
}
const none = { resent: [], unaccounted: [], misreported: [], unasked: [], doubtful: 1 }

const having = (id: string, change: object) => ({
  ...sound,
  statuses: sound.statuses.map((one) => one.id === id ? { ...one, ...change } : one)
})

describe("the checker of sent messages", () => {
  it("finds nothing if every message was sent once, has failed, or is in doubt", () =>
    assert.deepStrictEqual(checkSends(sound), none))

  it("finds messages that were sent twice, and messages that nobody asked for", () => {
    const verdict = checkSends({ ...sound, sent: [...sound.sent, ["a", "E"], ["x", "X"]] })
    assert.deepStrictEqual([verdict.resent, verdict.unasked], [["a, 2 times"], ["x"]])
  })

  it("finds missing messages and messages that still wait", () => {
    assert.lengthOf(checkSends({ ...sound, statuses: sound.statuses.slice(1) }).unaccounted, 1)
    for (const status of ["pending", "scheduled"]) {
      assert.deepStrictEqual(checkSends(having("3", { status })).unaccounted, [`c (3) is ${status}`])
    }
  })

  it("finds a status that contradicts what the gateway did", () => {
    for (
      const [id, change] of [
        ["1", { waId: "other" }],
        ["1", { status: "failed" }],
        ["3", { status: "sent", waId: "C" }]
      ] as const
    ) {
      assert.lengthOf(checkSends(having(id, change)).misreported, 1, id)
    }
  })
})
