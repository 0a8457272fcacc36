/** The first page: what needs a person, the figures, and every device. */
import { AsyncResult } from "effect/reactivity"
import { useMemo } from "react"
import { AddDevice } from "../gateways/AddDevice.tsx"
import { mayAtom } from "../session.ts"
import { useAtom, useAtomValue } from "../ui/atoms.ts"
import { Button, Choice, count, Field, Loaded, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { looks, states } from "../ui/StateBadge.tsx"
import { Attention } from "./Attention.tsx"
import { DeviceTable } from "./DeviceTable.tsx"
import { FleetFigures, StateCounts } from "./Figures.tsx"
import { fleetAtom, filterAtom } from "./fleetAtoms.ts"
import { filterRows } from "../../client/FleetModel.ts"
import type { FleetView, RowFilter } from "../../client/FleetModel.ts"
import { OverTime } from "./OverTime.tsx"

const everything: RowFilter = { search: "", state: "all", gateway: "" }

const stateOptions: ReadonlyArray<readonly [RowFilter["state"], string]> = [
  ["all", "Any state"],
  ["needy", "Needs you"],
  ...states.map((state) => [state, looks[state].word] as const)
]

const Devices = ({ view }: { readonly view: FleetView }) => {
  const [filter, setFilter] = useAtom(filterAtom)
  const rows = useMemo(() => filterRows(view, filter), [view, filter])
  const filtered = filter.search !== "" || filter.state !== "all" || filter.gateway !== ""
  return (
    <section className="panel devices" aria-label="Devices">
      <div className="filters">
        <Field
          label="Search devices"
          type="search"
          placeholder="Search by name, phone, id"
          value={filter.search}
          onChange={(search) => setFilter({ ...filter, search })}
        />
        <Choice
          label="State"
          hideLabel
          value={filter.state}
          options={stateOptions}
          onChange={(state) => setFilter({ ...filter, state })}
        />
        <Choice
          label="Gateway"
          hideLabel
          value={filter.gateway}
          options={[["", "Any gateway"], ...view.gateways.map((name) => [name, name] as const)]}
          onChange={(gateway) => setFilter({ ...filter, gateway })}
        />
        <Button kind="quiet" disabled={!filtered} onClick={() => setFilter(everything)}>Clear</Button>
        <span className="shown num" role="status">{count(rows.length)} of {count(view.rows.length)}</span>
      </div>
      <StateCounts view={view} />
      <DeviceTable rows={rows} />
    </section>
  )
}

const FirstSteps = () => {
  const { manageFleet } = useAtomValue(mayAtom)
  return (
    <Panel title="No devices yet" className="first-steps">
      {manageFleet
        ? (
          <>
            <p>
              A device is one WhatsApp account at a gateway. Add one and link its phone; or first{" "}
              <a href={hrefs.gateways}>
                add a gateway
              </a>{" "}
              of your own.
            </p>
            <AddDevice />
          </>
        )
        : <p>This key sees no devices. A key that may manage the fleet can add them.</p>}
    </Panel>
  )
}

export const FleetPage = () => {
  const result = useAtomValue(fleetAtom)
  return (
    <main className="page fleet">
      <h1 className="unseen">Fleet</h1>
      <Loaded
        result={AsyncResult.isSuccess(result) && !result.value.synced ? AsyncResult.initial(true) : result}
        lines={12}
      >
        {(view) =>
          view.rows.length === 0 ? <FirstSteps /> : (
            <>
              <Attention view={view} />
              <FleetFigures view={view} />
              <OverTime />
              <Devices view={view} />
            </>
          )}
      </Loaded>
    </main>
  )
}
