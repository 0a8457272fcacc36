/** The fault suite as data: its rows can be asked for and repeated, and its page shows what was measured. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { changed, mutants } from "../../faults/mutants.ts"
import { update } from "../../faults/report.ts"
import { planMoments } from "../../faults/runScenario.ts"
import { scenarios } from "../../faults/scenarios.ts"

const find = (name: string) => scenarios.find((scenario) => scenario.name === name)!

describe("the rows of the fault suite", () => {
  it("have names of their own, and every fault strikes within the load", () => {
    assert.strictEqual(new Set(scenarios.map(({ name }) => name)).size, scenarios.length)
    for (const scenario of scenarios) {
      const moments = planMoments(scenario, "any")
      assert.strictEqual(moments.length, scenario.faults.reduce((sum, { times }) => sum + times, 0), scenario.name)
      for (const [index, { at }] of moments.entries()) {
        assert.isBelow(at, scenario.load.events, scenario.name)
        assert.isAbove(at, index === 0 ? 0 : moments[index - 1]!.at, scenario.name)
      }
    }
  })

  it("strike at the same moments, in the same order, for the same seed", () => {
    assert.deepStrictEqual(planMoments(find("headline"), "one"), planMoments(find("headline"), "one"))
    assert.notDeepEqual(planMoments(find("headline"), "one"), planMoments(find("headline"), "two"))
  })

  it("are on the page with the last outcome of each", () => {
    const page = readFileSync(join(import.meta.dirname, "../../docs/faults.md"), "utf8")
    assert.strictEqual(update(page), page)
  })
})

describe("the mutants of the fault suite", () => {
  for (const mutant of mutants) {
    it(`${mutant.name} still finds the place that it breaks, and a row that condemns it`, () => {
      assert.isAbove(changed(mutant).length, 0)
      assert.isDefined(find(mutant.row))
    })
  }
})
