/** Who has changed what, from the log: live, the newest first. */
import { Schema } from "effect"
import { AsyncResult } from "effect/reactivity"
import { DeviceId } from "../../domain/Ids.ts"
import { fleetAtom } from "../fleet/fleetAtoms.ts"
import { useAtomValue } from "../ui/atoms.ts"
import { count, Empty, Loaded, Panel } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { Clock } from "../ui/time.tsx"
import { trailAtom } from "./keyAtoms.ts"
import type { Change } from "./keyAtoms.ts"

/** A device by its name, if it has one. */
const DeviceLink = ({ id }: { readonly id: string }) => {
  const fleet = AsyncResult.value(useAtomValue(fleetAtom))
  const row = fleet._tag === "Some" ? fleet.value.byId.get(DeviceId.make(id)) : undefined
  return <a href={hrefs.device(id)} title={id}>{row?.name ?? id}</a>
}

const Subject = ({ subject }: { readonly subject: string | null }) =>
  subject === null
    ? <>–</>
    : isDevice(subject)
    ? <DeviceLink id={subject} />
    : subject.startsWith("sub_")
    ? <a href={hrefs.subscription(subject)}>{subject}</a>
    : <>{subject}</>

const isDevice = Schema.is(DeviceId)

/** The names of all fields in the request, and the recorded values. */
const describeFields = ({ fields, values }: Change["data"]): string =>
  fields.map((field) => {
    const value = values[field]
    return value === undefined ? field : `${field}: ${describeValue(value)}`
  }).join(" · ")

/** The rest of a long list, such as one of devices, is counted. */
const listed = 4

const describeValue = (value: Schema.Json): string =>
  typeof value === "string"
    ? value
    : Array.isArray(value) && value.every((one) => typeof one === "string")
    ? value.slice(0, listed).join(", ") + (value.length > listed ? ` and ${count(value.length - listed)} more` : "")
    : JSON.stringify(value)

const Row = ({ change: { data, recordedAt } }: { readonly change: Change }) => (
  <tr>
    <td>
      <Clock at={recordedAt} />
    </td>
    <td>{data.by}</td>
    <td>
      <code>{data.operation}</code>
    </td>
    <td className="num">
      <Subject subject={data.subject} />
    </td>
    <td className="wide">
      {data.outcome === "unknown" ? <span className="tone-wait">interrupted, may have been executed ·</span> : null}
      {describeFields(data)}
    </td>
  </tr>
)

export const Trail = () => (
  <Panel title="Who has changed what">
    <Loaded result={useAtomValue(trailAtom)} lines={4}>
      {(changes) =>
        changes.length === 0
          ? <Empty>No changes in the part of the log that was read. New changes appear here.</Empty>
          : (
            <div className="table-place" tabIndex={0} role="region" aria-label="Changes, newest first">
              <table className="trail">
                <thead>
                  <tr>
                    <th>At</th>
                    <th>By</th>
                    <th>What</th>
                    <th>Of</th>
                    <th>Given</th>
                  </tr>
                </thead>
                <tbody>{changes.map((change) => <Row key={change.seq} change={change} />)}</tbody>
              </table>
            </div>
          )}
    </Loaded>
  </Panel>
)
