/** The fault suite as data: its rows can be selected and repeated, and its page shows the measured results. */
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { faultList } from "../../faults/faultList.ts"
import { mutants } from "../../faults/mutants.ts"
import { changed } from "../../faults/planted.ts"
import { isCurrent } from "../../faults/report.ts"
import { planMoments } from "../../faults/moments.ts"
import { scenarios } from "../../faults/rows/index.ts"

const find = (name: string) => scenarios.find((scenario) => scenario.name === name)!

describe("the rows of the fault suite", () => {
  it("have unique names, and every fault strikes within the load", () => {
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

  it("are on their pages with the last outcome of each", () => {
    assert.isTrue(isCurrent(), "npm run faults writes them")
  })
})

describe("the list of faults", () => {
  it("is numbered, and names rows and tests that exist", () => {
    assert.deepStrictEqual(faultList.map(({ number }) => number), Array.from({ length: 60 }, (_, index) => index + 1))
    for (const { not, number, rows = [], tests = [] } of faultList) {
      assert.isTrue(rows.length > 0 || tests.length > 0 || not !== undefined, `fault ${number}`)
      for (const name of rows) assert.isDefined(find(name), `fault ${number} names the row ${name}`)
      for (const [file, title] of tests) {
        assert.include(readFileSync(join(import.meta.dirname, "../..", file), "utf8"), title, `fault ${number}`)
      }
    }
  })
})

describe("the mutants of the fault suite", () => {
  for (const mutant of mutants) {
    it(`${mutant.name} still matches the code that it breaks, and has a row that condemns it`, () => {
      assert.isAbove(changed(mutant).length, 0)
      for (const row of mutant.rows) assert.isDefined(find(row), row)
    })
  }
})
