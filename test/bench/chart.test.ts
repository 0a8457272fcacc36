/** The charts of the benchmarks. */
import { assert, describe, it } from "@effect/vitest"
import { drawChart } from "../../bench/support/chart.ts"
import type { BarGroup, ChartOptions } from "../../bench/support/chart.ts"

const draw = (groups: ReadonlyArray<BarGroup>, options: Partial<ChartOptions> = {}): string =>
  drawChart(groups, { title: "storm", markMeans: null, fullWidth: "group", ...options })

const lengths = (svg: string): ReadonlyArray<number> =>
  [...svg.matchAll(/<rect x="\d+" y="\d+" width="(\d+)" height="16"/g)].map(([, width]) => Number(width))

const twoGroups: ReadonlyArray<BarGroup> = [
  {
    title: "time",
    note: "2×",
    bars: [{ series: "bare floor", value: 100, text: "100 ms" }, { series: "Columba", value: 200, text: "200 ms" }],
    mark: null
  },
  { title: "CPU", note: "", bars: [{ series: "Columba", value: 20, text: "20 %" }], mark: null }
]

describe("a bar chart", () => {
  it("draws bars in proportion within each group, or within the whole chart", () => {
    const [first, second, third] = lengths(draw(twoGroups))
    assert.strictEqual(second, first! * 2)
    assert.strictEqual(third, second)
    const [, longest, other] = lengths(draw(twoGroups, { fullWidth: "chart" }))
    assert.strictEqual(other, longest! / 10)
  })

  it("draws a mark that is beyond the longest bar, within the chart", () => {
    const svg = draw([
      { title: "t", note: "", bars: [{ series: "Columba", value: 1, text: "1" }], mark: 4 }
    ], { markMeans: "target" })
    const mark = Number(/x1="(\d+)" y1="\d+" x2="\1" y2="\d+" class="mark"\/>\n<\/svg>/.exec(svg)?.[1])
    assert.isAbove(mark, lengths(svg)[0]! * 3)
    assert.isBelow(mark, 720)
  })

  it("has no length without values, and escapes text", () => {
    const svg = draw([
      { title: "a < b & c", note: "", bars: [{ series: "Columba", value: 0, text: "0" }], mark: null }
    ], { title: "\"<b>" })
    assert.notInclude(svg, "NaN")
    assert.include(svg, "a &lt; b &amp; c")
    assert.include(svg, `aria-label="&quot;&lt;b&gt;"`)
  })
})
