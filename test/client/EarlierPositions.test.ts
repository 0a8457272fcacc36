import { assert, it } from "@effect/vitest"
import fc from "fast-check"
import { EarlierPositions } from "../../src/client/EarlierPositions.ts"
import { positionAfter, readPosition } from "../../src/domain/Ids.ts"
import { propertyLimits } from "../support/propertyLimits.ts"

const taken = (positions: EarlierPositions): ReadonlyArray<number> => {
  const all: Array<number> = []
  for (let next = positions.takeNewest(); next !== null; next = positions.takeNewest()) {
    all.push(readPosition(next)!.seq)
  }
  return all
}

it("returns positions newest first, and for every distance one at most four times as far away, out of about a hundred", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20_000 }), (count) => {
      const positions = new EarlierPositions()
      for (let seq = 1; seq <= count; seq++) positions.add(positionAfter(seq))
      const all = taken(positions)
      assert.isBelow(all.length, 64)
      assert.strictEqual(all[0], count)
      all.forEach((seq, index) => assert.isBelow(seq, all[index - 1] ?? Infinity))
      for (let distance = 1; distance * 4 < count; distance++) {
        const found = all.find((seq) => count - seq >= distance)!
        assert.isAtMost(count - found, distance * 4)
      }
    }),
    propertyLimits(50)
  )
})

it("continues from the position at which a stream was resumed", () => {
  const positions = new EarlierPositions()
  for (let seq = 1; seq <= 8; seq++) positions.add(positionAfter(seq))
  assert.strictEqual(positions.takeNewest(), positionAfter(8))
  assert.strictEqual(positions.takeNewest(), positionAfter(7))
  positions.add(positionAfter(8))
  positions.add(positionAfter(9))
  assert.deepStrictEqual(taken(positions).slice(0, 3), [9, 8, 6])
})
