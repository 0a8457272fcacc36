/** Arbitrary deliveries of the copies of some facts: of each fact one or more, in any order and in any batches. */
import * as fc from "fast-check"
import type { EventDraft } from "../../src/domain/Event.ts"
import { seeded } from "../../src/simulator/Seeded.ts"
import type { Fact } from "./mixes.ts"

export type Delivery = readonly [Fact, EventDraft]

/** A mix is derived from these numbers: arbitraries for each of thousands of copies would cost more than the test. */
export interface MixSeed {
  readonly seed: number
  /** The probability of one more copy. */
  readonly repeats: number
  /** The largest batch. */
  readonly piece: number
}

/** More would not fit into one transaction. */
const batchMax = 200

export const mixSeeds: fc.Arbitrary<MixSeed> = fc.record({
  seed: fc.integer(),
  repeats: fc.double({ min: 0, max: 0.9, noNaN: true }),
  piece: fc.integer({ min: 1, max: batchMax })
})

export const mixOf = (
  facts: ReadonlyArray<Fact>,
  { piece, repeats, seed }: MixSeed
): ReadonlyArray<ReadonlyArray<Delivery>> => {
  const random = seeded(`mix ${seed}`)
  const deliveries: Array<Delivery> = []
  for (const fact of facts) {
    deliveries.push([fact, random.pick(fact.copies)])
    // Without an identity a repeat cannot be recognised.
    while (fact.copies[0]!.identity !== null && random.chance(repeats)) {
      deliveries.push([fact, random.pick(fact.copies)])
    }
  }
  const batches: Array<Array<Delivery>> = [[]]
  while (deliveries.length > 0) {
    const at = random.between(0, deliveries.length - 1)
    const [delivery] = deliveries.splice(at, 1)
    const last = batches.at(-1)!
    if (last.length < piece && !random.chance(1 / piece)) last.push(delivery!)
    else batches.push([delivery!])
  }
  return batches.filter(({ length }) => length > 0)
}
