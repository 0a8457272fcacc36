/** The order in which histories are read. */
import { assert, describe, it } from "@effect/vitest"
import { ReadingQueue } from "../../../src/actors/gateway/ReadingQueue.ts"

const drain = (queue: ReadingQueue<string>): ReadonlyArray<string> => {
  const order: Array<string> = []
  for (let found = queue.next(); found !== null; found = queue.next()) order.push(`${found.kind} ${found.key}`)
  return order
}

describe("histories that are due", () => {
  it("of devices that lost their session and devices that may be deaf take turns, and the regular ones wait for both", () => {
    const queue = new ReadingQueue<string>()
    queue.add("swept", "sweep")
    queue.add("regular", "schedule")
    for (const name of ["a", "b", "c"]) queue.add(name, "connect")
    for (const name of ["x", "y"]) queue.add(name, "look")
    assert.strictEqual(queue.histories, 5, "a look is no history to go")
    assert.deepStrictEqual(drain(queue), [
      "connect a",
      "look x",
      "connect b",
      "look y",
      "connect c",
      "schedule regular",
      "sweep swept"
    ])
    assert.isNull(queue.next())
  })

  it("are no longer read once their device is gone", () => {
    const queue = new ReadingQueue<string>()
    queue.add("gone", "schedule")
    queue.add("here", "connect")
    queue.delete("gone")
    assert.deepStrictEqual(drain(queue), ["connect here"])
  })
})
