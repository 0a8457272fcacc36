/** Bar charts as SVG, for pages that are read in a light or a dark browser. Widths are in pixels. */

/** Distinguishable with red-green colour blindness (Okabe and Ito). */
const colours = { "bare floor": "#8a8f98", Columba: "#0072b2", Postgres: "#e69f00", RabbitMQ: "#009e73" } as const

export interface Bar {
  /** What the bar is of: it decides the colour, and the legend names it. */
  readonly series: keyof typeof colours
  readonly value: number
  readonly text: string
}

/** Bars that are compared with each other. */
export interface BarGroup {
  readonly title: string
  /** Shown at the right, for example the ratio of the bars. */
  readonly note: string
  readonly bars: ReadonlyArray<Bar>
  /** A line across the bars at this value, for example a target. */
  readonly mark: number | null
}

const width = 720
const margin = 16
const barsWidth = 430
const barHeight = 16
const groupGap = 18
const titleHeight = 20
const legendHeight = 34

const escape = (text: string): string => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;")

const text = (x: number, y: number, content: string, options = ""): string =>
  `<text x="${x}" y="${y}"${options}>${escape(content)}</text>`

export interface ChartOptions {
  /** For screen readers. */
  readonly title: string
  /** What a mark means; null without marks. */
  readonly markMeans: string | null
  /** Whether the longest bar of each group, or of the whole chart, has the full width. */
  readonly fullWidth: "group" | "chart"
}

const findLongest = (groups: ReadonlyArray<BarGroup>): number =>
  Math.max(...groups.flatMap(({ bars, mark }) => [mark ?? 0, ...bars.map(({ value }) => value)]))

export const drawChart = (groups: ReadonlyArray<BarGroup>, { fullWidth, markMeans, title }: ChartOptions): string => {
  const series = [...new Set(groups.flatMap(({ bars }) => bars.map((bar) => bar.series)))]
  const parts: Array<string> = []
  let x = margin
  for (const name of series) {
    parts.push(`<rect x="${x}" y="14" width="12" height="12" rx="2" fill="${colours[name]}"/>`, text(x + 18, 25, name))
    x += 40 + name.length * 7
  }
  if (markMeans !== null && groups.some(({ mark }) => mark !== null)) {
    parts.push(`<line x1="${x + 4}" y1="12" x2="${x + 4}" y2="28" class="mark"/>`, text(x + 14, 25, markMeans))
  }
  let y = legendHeight + groupGap
  for (const group of groups) {
    const { bars, mark, note, title: heading } = group
    const longest = findLongest(fullWidth === "group" ? [group] : groups)
    const scale = (value: number): number => longest === 0 ? 0 : Math.round(value / longest * barsWidth)
    parts.push(text(margin, y, heading), text(width - margin, y, note, ` text-anchor="end" class="note"`))
    const top = y + 7
    for (const [index, { series: name, text: label, value }] of bars.entries()) {
      const barTop = top + index * (barHeight + 2)
      const length = Math.max(1, scale(value))
      parts.push(
        `<rect x="${margin}" y="${barTop}" width="${length}" height="${barHeight}" rx="2" fill="${colours[name]}"/>`,
        text(margin + Math.max(length, mark === null ? 0 : scale(mark)) + 8, barTop + 12.5, label, ` class="value"`)
      )
    }
    const bottom = top + bars.length * (barHeight + 2) - 2
    if (mark !== null) {
      const at = margin + scale(mark)
      parts.push(`<line x1="${at}" y1="${top - 2}" x2="${at}" y2="${bottom + 2}" class="mark"/>`)
    }
    y = bottom + groupGap + titleHeight
  }
  const height = y - titleHeight
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" role="img" ` +
    `aria-label="${escape(title).replaceAll("\"", "&quot;")}">
<style>
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.value { font-size: 12px; fill: #57606a }
.note { font-weight: 600 }
.mark { stroke: #cf222e; stroke-width: 2; stroke-dasharray: 4 2 }
.paper { fill: #ffffff }
@media (prefers-color-scheme: dark) {
  text, .note { fill: #e6edf3 }
  .value { fill: #9198a1 }
  .paper { fill: #0d1117 }
}
</style>
<rect class="paper" width="${width}" height="${height}" rx="6"/>
${parts.join("\n")}
</svg>
`
}
