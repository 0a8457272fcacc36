/** The fleet in figures: devices by state, the rate of events, and the progress of each reader. */
import { AsyncResult } from "effect/reactivity"
import type { ReactNode } from "react"
import { useAtom, useAtomValue } from "../ui/atoms.ts"
import { count } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { looks, states, StateSign } from "../ui/StateBadge.tsx"
import { figuresAtom, filterAtom, noFigures, subscriptionsAtom } from "./fleetAtoms.ts"
import type { FleetView } from "../../client/FleetModel.ts"

const [width, height] = [120, 24]

const Sparkline = ({ rates }: { readonly rates: ReadonlyArray<number> }) => {
  const top = Math.max(1, ...rates)
  const step = width / 59
  const points = rates.map((rate, index) =>
    `${(width - (rates.length - 1 - index) * step).toFixed(1)},${(height - 1 - rate / top * (height - 2)).toFixed(1)}`
  )
  return (
    <svg
      className="sparkline"
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={`Two minutes, at most ${top.toFixed(0)} a second`}
    >
      <polyline points={points.join(" ")} />
    </svg>
  )
}

const Figure = (
  { children, label, note }: { readonly label: string; readonly children: ReactNode; readonly note?: ReactNode }
) => (
  <div className="figure">
    <dt>{label}</dt>
    <dd>
      {children}
      <span className="note">{note}</span>
    </dd>
  </div>
)

const formatRate = (rate: number): string => rate >= 100 ? count(Math.round(rate)) : rate.toFixed(1)

/** Averaged over some readings, so that a figure can be read before it changes. */
const mean = (rates: ReadonlyArray<number>): number | null => {
  const last = rates.slice(-5)
  return last.length === 0 ? null : last.reduce((sum, rate) => sum + rate, 0) / last.length
}

export const FleetFigures = ({ view }: { readonly view: FleetView }) => {
  const { overview, rates } = AsyncResult.getOrElse(useAtomValue(figuresAtom), () => noFigures)
  const listed = AsyncResult.value(useAtomValue(subscriptionsAtom))
  const active = view.rows.length - view.counts.Inactive
  const rate = mean(rates)
  const gaps = overview?.openGaps?.reduce((sum, gap) => sum + gap.count, 0)
  const subscriptions = listed._tag === "Some" ? listed.value.items.filter(({ state }) => state === "active") : []
  return (
    <dl className="figures">
      <Figure label="Online" note={`of ${count(active)}`}>
        <span className="big num">{count(view.counts.Online)}</span>
      </Figure>
      {overview === null ? null : (
        <>
          <Figure label="Events per second" note={<Sparkline rates={rates} />}>
            <span className="big num">{rate === null ? "–" : formatRate(rate)}</span>
          </Figure>
          <Figure label="Log" note="events">
            <span className="big num">{overview.head === null ? "–" : count(overview.head)}</span>
          </Figure>
          <Figure
            label="Open gaps"
            note={overview.openGaps?.map(({ cause, count: n }) => `${count(n)} ${cause}`).join(", ")}
          >
            <span className="big num">{gaps === undefined ? "–" : count(gaps)}</span>
          </Figure>
          <Figure label="Gateways down" note={<a href={hrefs.gateways}>gateways</a>}>
            <span className="big num">{count(overview.incidents.length)}</span>
          </Figure>
          {overview.sinks.map(({ lag, sink, state }) => (
            <Figure key={sink} label={`${sink} is behind`} note={state === "running" ? "events" : state}>
              <span className="big num">{count(lag)}</span>
            </Figure>
          ))}
        </>
      )}
      {subscriptions.length === 0 ?
        null :
        (
          <Figure
            label="Subscriptions are behind"
            note={<a href={hrefs.subscriptions}>{count(subscriptions.length)} active</a>}
          >
            <span className="big num">{count(Math.max(...subscriptions.map(({ behind }) => behind)))}</span>
          </Figure>
        )}
    </dl>
  )
}

/** Counts that are filters as well. */
export const StateCounts = ({ view }: { readonly view: FleetView }) => {
  const [filter, setFilter] = useAtom(filterAtom)
  return (
    <div className="state-counts" role="group" aria-label="Devices by state">
      {states.map((state) => (
        <button
          key={state}
          type="button"
          aria-pressed={filter.state === state}
          className={view.counts[state] === 0 ? "zero" : ""}
          onClick={() => setFilter({ ...filter, state: filter.state === state ? "all" : state })}
        >
          <StateSign state={state} />
          <span>{looks[state].word}</span>
          <span className="num">{count(view.counts[state])}</span>
        </button>
      ))}
    </div>
  )
}
