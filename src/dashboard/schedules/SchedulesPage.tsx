/** All recurring sends and scheduled messages of the devices that the key sees. */
import { AsyncResult } from "effect/reactivity"
import { useState } from "react"
import { filterRows } from "../../client/FleetModel.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { mayAtom } from "../session.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { Choice, count, Field, Panel } from "../ui/parts.tsx"
import { AddSchedule } from "./AddSchedule.tsx"
import { DueList, ScheduleList } from "./Schedules.tsx"

/** Nobody reads through more than that: a search finds the device. */
const choicesShown = 50

const Add = () => {
  const fleet = AsyncResult.value(useAtomValue(fleetAtom))
  const [search, setSearch] = useState("")
  const [chosen, setChosen] = useState("")
  if (fleet._tag === "None") return null
  const active = filterRows(fleet.value, { search, state: "all", gateway: "" }).filter(({ state }) =>
    state._tag !== "Inactive"
  )
  const rows = active.slice(0, choicesShown)
  // With several devices none is preselected: a message from the wrong account cannot be undone.
  const device = active.length === 1 ? active[0] : rows.find(({ id }) => id === chosen)
  return (
    <Panel title="Add a recurring send">
      <div className="form">
        {active.length <= choicesShown && search === "" ?
          null :
          <Field label="Search its device" type="search" value={search} onChange={setSearch} />}
        <Choice
          label={active.length > rows.length ? `Device (of ${count(active.length)})` : "Device"}
          value={device?.id ?? ""}
          options={[["", "Choose one"], ...rows.map(({ id, name }) => [id, name] as const)]}
          onChange={setChosen}
        />
      </div>
      {device === undefined ? null : <AddSchedule key={device.id} device={device.id} />}
    </Panel>
  )
}

export const SchedulesPage = () => {
  const { send } = useAtomValue(mayAtom)
  return (
    <main className="page columns">
      <h1 className="unseen">Schedules</h1>
      <div>
        <Panel title="Due, the next first">
          <DueList of={null} />
        </Panel>
        <Panel title="Recurring sends">
          <ScheduleList of={null} />
        </Panel>
      </div>
      {send ? <Add /> : null}
    </main>
  )
}
