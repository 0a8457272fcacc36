/** The charts of the benchmarks. */
import { assert, describe, it } from "@effect/vitest"
import { drawChart } from "../../bench/support/chart.ts"

const lengths = (svg: string): ReadonlyArray<number> =>
  [...svg.matchAll(/<rect x="\d+" y="\d+" width="(\d+)" height="16"/g)].map(([, width]) => Number(width))

describe("a bar chart", () => {
  it("draws bars in proportion within each group", () => {
    const svg = drawChart("storm", [
      {
        title: "time",
        note: "2×",
        bars: [{ series: "floor", value: 100, text: "100 ms" }, { series: "Columba", value: 200, text: "200 ms" }],
        mark: null
      },
      { title: "CPU", note: "", bars: [{ series: "floor", value: 3, text: "3 %" }], mark: null }
    ], null)
    const [first, second, third] = lengths(svg)
    assert.strictEqual(second, first! * 2)
    assert.strictEqual(third, second)
  })

  it("draws the mark even beyond the longest bar, within the chart", () => {
    const svg = drawChart("t", [
      { title: "t", note: "", bars: [{ series: "a", value: 1, text: "1" }], mark: 4 }
    ], "target")
    const mark = Number(/x1="(\d+)" y1="\d+" x2="\1" y2="\d+" class="mark"\/>\n<\/svg>/.exec(svg)?.[1])
    assert.isAbove(mark, lengths(svg)[0]! * 3)
    assert.isBelow(mark, 720)
  })

  it("has no length without values, and escapes text", () => {
    const svg = drawChart("\"<b>", [
      { title: "a < b & c", note: "", bars: [{ series: "zero", value: 0, text: "0" }], mark: null }
    ], null)
    assert.notInclude(svg, "NaN")
    assert.include(svg, "a &lt; b &amp; c")
    assert.include(svg, `aria-label="&quot;&lt;b&gt;"`)
  })
})
