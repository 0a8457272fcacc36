import { assert, describe, it } from "@effect/vitest"
import { ReadTurns } from "../../../../src/layers/gateways/http/ReadTurns.ts"

/** Turns over a clock that the test moves, in a loop that it turns. */
const makeLoop = () => {
  const loop = { time: 1000, due: [] as Array<() => void> }
  const turns = new ReadTurns({ now: () => loop.time, later: (turn) => loop.due.push(turn) })
  /** A chunk that takes this long, if it may be read. */
  const read = (millis: number): boolean => {
    if (!turns.begin()) return false
    loop.time += millis
    turns.done()
    return true
  }
  const turn = () => {
    for (const due of loop.due.splice(0)) due()
  }
  return { loop, turns, read, turn }
}

describe("turns of reading", () => {
  it("reads for a slice, and again once the loop has turned", () => {
    const { loop, read, turn } = makeLoop()
    assert.deepStrictEqual([read(4), read(4), read(4), read(4), read(4)], [true, true, true, false, false])
    assert.strictEqual(loop.due.length, 1)
    turn()
    assert.isTrue(read(4))
  })

  it("schedules nothing while chunks come one by one", () => {
    const { loop, read } = makeLoop()
    for (let chunk = 0; chunk < 100; chunk++) {
      assert.isTrue(read(1))
      loop.time += 1
    }
    assert.deepStrictEqual(loop.due, [])
  })

  it("serves waiting connections in order, a slice per turn, and lets none overtake", () => {
    const { loop, read, turn, turns } = makeLoop()
    const served: Array<string> = []
    const reader = (name: string, chunks: number) => {
      const self = {
        onTurn: () => {
          served.push(name)
          loop.time += 6
          if (--chunks > 0) turns.wait(self)
        }
      }
      return self
    }
    turns.wait(reader("a", 2))
    turns.wait(reader("b", 1))
    turns.wait(reader("c", 1))
    assert.isFalse(read(1), "others wait")
    turn()
    assert.deepStrictEqual(served, ["a", "b"])
    assert.isFalse(read(1), "others wait still")
    turn()
    assert.deepStrictEqual(served, ["a", "b", "c", "a"])
    turn()
    assert.isTrue(read(1))
    assert.deepStrictEqual([served.length, loop.due], [4, []])
  })
})
