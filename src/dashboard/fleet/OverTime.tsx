/** The figures of the fleet since the page was opened: each as a separate line, so that none depends on colours. */
import { AsyncResult } from "effect/reactivity"
import type { ReactNode } from "react"
import { useAtomValue } from "../ui/atoms.ts"
import { count } from "../ui/parts.tsx"
import { looks, states, StateSign } from "../ui/StateBadge.tsx"
import { formatSpan } from "../ui/time.tsx"
import { figuresAtom } from "./fleetAtoms.ts"
import { ratesOf, seriesOf, stretchesOf } from "./FleetHistory.ts"
import type { Point, Reading } from "./FleetHistory.ts"

const [width, height] = [600, 32]

interface LineProps {
  readonly label: string
  readonly sign?: ReactNode
  readonly points: ReadonlyArray<Point>
  readonly from: number
  readonly to: number
}

const Line = ({ from, label, points, sign, to }: LineProps) => {
  const values = points.map(({ value }) => value)
  const [low, high] = [Math.min(...values), Math.max(...values)]
  const place = ({ at, value }: Point): string => {
    const x = to === from ? width : (at - from) / (to - from) * width
    const y = height - 2 - (high === 0 ? 0 : value / high * (height - 4))
    return `${x.toFixed(1)},${y.toFixed(1)}`
  }
  const now = values.at(-1) ?? 0
  const round = (value: number): string => count(value >= 10 ? Math.round(value) : Math.round(value * 10) / 10)
  return (
    <li className="over-time-line">
      <span className="over-time-name break">{sign}{label}</span>
      <svg
        viewBox={`0 0 ${width} ${height}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${label}: ${round(now)} now, between ${round(low)} and ${round(high)} before`}
      >
        {stretchesOf(points).map((stretch) => <polyline key={stretch[0]?.at} points={stretch.map(place).join(" ")} />)}
      </svg>
      <span className="num right" aria-hidden="true">{round(now)}</span>
      <span className="note num" aria-hidden="true">{low === high ? "" : `${round(low)}–${round(high)}`}</span>
    </li>
  )
}

const Lines = ({ history }: { readonly history: ReadonlyArray<Reading> }) => {
  const [from, to] = [history[0]?.at ?? 0, history.at(-1)?.at ?? 0]
  const range = { from, to }
  const sinks = [...new Set(history.flatMap(({ lags }) => Object.keys(lags)))]
  return (
    <>
      <ul>
        <Line label="Events per second" points={ratesOf(history)} {...range} />
        {states.map((state) => {
          const points = seriesOf(history, (reading) => reading.states === null ? null : reading.states[state] ?? 0)
          return points.every(({ value }) => value === 0) ?
            null :
            <Line key={state} label={looks[state].word} sign={<StateSign state={state} />} points={points} {...range} />
        })}
        {sinks.map((sink) => (
          <Line
            key={sink}
            label={`${sink} is behind`}
            points={seriesOf(history, ({ lags }) => lags[sink])}
            {...range}
          />
        ))}
      </ul>
      <p className="note">
        The last {formatSpan(to - from)}. Kept in this page while it is open, one hour at most; <code>/metrics</code>
        {" "}
        is for more.
      </p>
    </>
  )
}

export const OverTime = () => {
  const figures = AsyncResult.value(useAtomValue(figuresAtom))
  const history = figures._tag === "Some" ? figures.value.history : []
  // With one reading there is no line.
  return history.length < 2 ? null : (
    <details className="panel over-time">
      <summary>Over time</summary>
      <div className="over-time-lines" tabIndex={0} role="region" aria-label="Figures over time">
        <Lines history={history} />
      </div>
    </details>
  )
}
