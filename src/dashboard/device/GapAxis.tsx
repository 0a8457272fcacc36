/** The intervals in which a device could not receive, on an axis of time, and how each was closed. */
import { useState } from "react"
import type { Gap } from "../../domain/Gap.ts"
import { count, Empty, Segments } from "../ui/parts.tsx"
import { Clock, formatSpan, useNow } from "../ui/time.tsx"

const hour = 3_600_000
const ranges = { "1 h": hour, "24 h": 24 * hour, "7 d": 7 * 24 * hour, "30 d": 30 * 24 * hour } as const
type Range = keyof typeof ranges
const rangeOptions = (Object.keys(ranges) as ReadonlyArray<Range>).map((range) => [range, range] as const)

/** The axis is drawn in this many units. */
const width = 1000
const [top, bottom] = [6, 34]
/** Minimum width: a gap of a second would be invisible in a month. */
const widthMin = 3

const words: Readonly<Record<Gap["status"], string>> = {
  open: "open",
  closed: "closed: nothing is missing",
  unprovable: "unprovable"
}

const Bar = ({ from, gap, to }: { readonly gap: Gap; readonly from: number; readonly to: number }) => {
  const place = (time: number): number => (time - from) / (to - from) * width
  const begin = Math.max(0, place(Date.parse(gap.openedAt)))
  const end = Math.min(width, place(gap.endedAt === null ? to : Date.parse(gap.endedAt)))
  return (
    <rect
      className={`gap gap-${gap.status}`}
      x={Math.min(begin, width - widthMin)}
      y={top}
      width={Math.max(widthMin, end - begin)}
      height={bottom - top}
    />
  )
}

const Entry = ({ gap }: { readonly gap: Gap }) => {
  const now = useNow()
  const lasted = (gap.endedAt === null ? now : Date.parse(gap.endedAt)) - Date.parse(gap.openedAt)
  return (
    <>
      <tr>
        <td>
          <Clock at={gap.openedAt} />
        </td>
        <td className="num right">{formatSpan(lasted)}</td>
        <td>{gap.cause}</td>
        <td>
          <span className={`gap-key gap-${gap.status}`} aria-hidden="true" /> {words[gap.status]}
        </td>
        <td className="num right">{count(gap.recovered)}</td>
      </tr>
      <tr className="gap-detail">
        <td colSpan={5}>
          {gap.proven.length === 0 ? "" : `Proven: ${gap.proven.join(", ")}. `}
          {gap.detail}
        </td>
      </tr>
    </>
  )
}

export const GapAxis = ({ gaps }: { readonly gaps: ReadonlyArray<Gap> }) => {
  const [range, setRange] = useState<Range>("24 h")
  const to = useNow()
  const from = to - ranges[range]
  const seen = gaps.filter(({ endedAt }) => endedAt === null || Date.parse(endedAt) >= from)
  return (
    <>
      <div className="axis-head">
        <Segments label="Time shown" value={range} options={rangeOptions} onChange={setRange} />
        <span className="note">{count(seen.length)} in this time</span>
      </div>
      <svg
        className="axis"
        viewBox={`0 0 ${width} 40`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${seen.length} gaps in the last ${range}; the table has them`}
      >
        <defs>
          <pattern id="gap-open" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
            <rect className="gap-stripe" width="3" height="6" />
          </pattern>
        </defs>
        <rect className="heard" x={0} y={top} width={width} height={bottom - top} />
        {seen.map((gap) => <Bar key={gap.id} gap={gap} from={from} to={to} />)}
      </svg>
      <div className="axis-foot num" aria-hidden="true">
        <span>{range} ago</span>
        <span>now</span>
      </div>
      {gaps.length === 0 ?
        <Empty>No gaps.</Empty> :
        (
          <div className="table-place" tabIndex={0} role="region" aria-label="Gaps">
            <table>
              <thead>
                <tr>
                  <th>Since</th>
                  <th className="right">Lasted</th>
                  <th>Cause</th>
                  <th>Status</th>
                  <th className="right">Recovered</th>
                </tr>
              </thead>
              <tbody>{gaps.slice(0, 50).map((gap) => <Entry key={gap.id} gap={gap} />)}</tbody>
            </table>
          </div>
        )}
    </>
  )
}
