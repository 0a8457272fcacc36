/**
 * Simulated worlds in every test run: some seeds, all that were ever broken, and programs that break a promise on purpose.
 * `npm run simulate` runs more of them.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { changed } from "../../faults/planted.ts"
import { isSound } from "./judge.ts"
import { condemn, mutants } from "./mutants.ts"
import { simulate } from "./Simulation.ts"

/** The duration of a world here: faults of a minute strike many times in it, those of hours in some of the seeds. */
const hours = 3

/** A world takes some seconds of a processor, and a mutant some worlds. On a busy machine that is minutes. */
const limitMillis = 600_000

/** Seeds among which a quick mutant is found: at once, or with the 22nd. It ends with the first that does. */
const quickSeeds = 40

/**
 * Gateways of all shapes, few faults and many, nodes and subscriptions; and seeds that were found to be broken:
 * - 3: a device that was added a moment ago missed more than its gap covered; and the gap of a deaf device started with the
 *   first missed message, since the earlier ones had been deleted by then.
 * - 222: a process took a device back from the one after it.
 * - 516: a process alone searched for a device that kills it, and quarantined one after it had been killed by others.
 * - 554: deliveries read an older log over and over, without a pause, until the reader of all of them noticed it; and an
 *   event with the number of an undone one was not published.
 * - 620: a process that had been suspended named too short a gap.
 * - 3948: the same, because it used events that it read afterwards as a proof of reception before.
 * - 20021: a read of the history counted as a proof that no reaction was missing.
 * - 20037: a read that failed after some pages forgot that it had found a device deaf.
 * - 23006: the time at which a device came online was recorded a minute later, and counted as the proof of its reception.
 * - 23117: a device that was deaf on two nodes in turn had a gap since the second one.
 * - 24116, 25397: under the epoch of another copy of the database, a subscription forgot which devices it holds back.
 * - 25949: a gap that lasted was closed long ago in the copy that took over.
 * - 26067: a process had a heartbeat for devices that an older copy assigned to it and that it did not run.
 * - 27379: a row of the history that a suspended process had read hid from the device's next owner that it was deaf.
 */
const chosen = [
  ...["1", "10", "3", "222", "516", "554", "620", "3948", "20021", "20037"].map((seed) => ({ seed, hours })),
  ...["23006", "23117", "24116", "25397", "25949", "26067", "27379"].map((seed) => ({ seed, hours: 4 }))
]

const show = async (seed: string, hours: number) => {
  const outcome = await simulate(seed, { hours })
  const { charges } = outcome.judgement
  assert(isSound(outcome.judgement), `seed ${seed}: ${JSON.stringify(charges, null, 2)}\n${outcome.plan}`)
  return outcome
}

describe("a simulated world", () => {
  for (const { hours, seed } of chosen) {
    it(`keeps every promise (seed ${seed}, ${hours} hours)`, async () => {
      const { judgement, lives } = await show(seed, hours)
      assert.isAbove(judgement.counts["emitted"]!, 0)
      assert.isAbove(judgement.counts["delivered"]!, 0)
      assert.isAbove(lives, 0)
    }, limitMillis)
  }

  it("is the same for the same seed, step by step, and different for another seed", async () => {
    const [first, second, other] = [
      await simulate("repeated", { hours: 1 }),
      await simulate("repeated", { hours: 1 }),
      await simulate("repeated/other", { hours: 1 })
    ]
    assert.strictEqual(second.digest, first.digest)
    assert.strictEqual(second.steps, first.steps)
    assert.notStrictEqual(other.digest, first.digest)
  }, limitMillis)
})

describe("the mutants of simulated worlds", () => {
  for (const mutant of mutants) {
    it(`${mutant.name} still matches the code that it breaks`, () => assert.isAbove(changed(mutant).length, 0))
  }

  // The others need more worlds than a test run has time for: npm run simulate -- --mutants.
  for (const mutant of mutants.filter(({ isQuick }) => isQuick)) {
    it.live(
      `${mutant.name} is condemned`,
      () => Effect.map(condemn(mutant, quickSeeds, hours), ({ found }) => assert.isNotNull(found)),
      limitMillis
    )
  }
})
