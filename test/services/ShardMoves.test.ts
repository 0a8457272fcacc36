import { assert, describe, it } from "@effect/vitest"
import { recentMovesMax, ShardMoves } from "../../src/services/ShardMoves.ts"

const one = { name: "one", healthy: true }
const two = { name: "two", healthy: true }
const words = (moves: ShardMoves) =>
  moves.view.recent.map(({ direction, reason, shards }) => `${direction} ${shards}: ${reason}`)

/** A node that is alone and has four shards. */
const joined = () => {
  const moves = new ShardMoves("one")
  moves.seen([one])
  moves.acquired(["a", "b", "c", "d"], 0)
  return moves
}

describe("the moves of a node's shards", () => {
  it("are merged for shards that move one by one for the same reason", () => {
    const moves = joined()
    moves.seen([one, two])
    for (const [index, shard] of ["a", "b"].entries()) moves.released(shard, 10_000 + index)
    assert.deepStrictEqual(words(moves), ["given 2: node-joined", "taken 4: joined"])
    assert.strictEqual(moves.view.recent[0]?.at, 10_001)
    assert.strictEqual(moves.shards, 2)
    assert.deepStrictEqual(moves.totals, [
      { direction: "taken", reason: "joined", shards: 4 },
      { direction: "given", reason: "node-joined", shards: 2 }
    ])
  })

  it("distinguish a node that left from one that was lost", () => {
    const left = joined()
    left.seen([one, two])
    left.released("a", 10_000)
    left.seen([one])
    left.acquired(["a"], 20_000)
    assert.strictEqual(words(left)[0], "taken 1: node-left")

    const lost = joined()
    lost.seen([one, two])
    lost.released("a", 10_000)
    lost.seen([one, { ...two, healthy: false }])
    lost.seen([one])
    lost.acquired(["a"], 20_000)
    assert.strictEqual(words(lost)[0], "taken 1: node-lost")
  })

  it("name a database outage and its end", () => {
    const moves = joined()
    moves.releasedAll(10_000)
    moves.acquired(["a", "b"], 20_000)
    assert.deepStrictEqual(words(moves), ["taken 2: recovered", "given 4: database-away", "taken 4: joined"])
  })

  it("count a shard whose lease had ended once, also when it is released after", () => {
    const moves = joined()
    moves.refreshed(["a", "b", "c", "d"], new Set(["c", "d"]), 10_000)
    moves.released("a", 10_100)
    moves.released("b", 10_100)
    assert.deepStrictEqual(words(moves), ["given 2: lease-lost", "taken 4: joined"])
    assert.strictEqual(moves.view.given, 2)
  })

  it("belong to a stop once the node leaves", () => {
    const moves = joined()
    moves.stopping()
    moves.released("a", 10_000)
    moves.releasedAll(10_001)
    assert.strictEqual(words(moves)[0], "given 4: stopped")
    assert.strictEqual(moves.shards, 0)
    assert.strictEqual(moves.refreshedAt, null)
  })

  it("are kept in a bounded number", () => {
    const moves = joined()
    for (let index = 1; index <= 3 * recentMovesMax; index++) {
      moves.releasedAll(index * 10_000)
      moves.acquired(["a"], index * 10_000 + 1)
    }
    assert.strictEqual(moves.view.recent.length, recentMovesMax)
    assert.strictEqual(moves.view.taken, 4 + 3 * recentMovesMax)
  })
})
