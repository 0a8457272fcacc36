/** The list of devices: only the visible rows exist, so that ten thousand scroll like fifty. */
import { useVirtualizer } from "@tanstack/react-virtual"
import { memo, useRef } from "react"
import { Empty } from "../ui/parts.tsx"
import { hrefs } from "../ui/route.ts"
import { StateBadge } from "../ui/StateBadge.tsx"
import { Ago } from "../ui/time.tsx"
import type { DeviceRow } from "../../client/FleetModel.ts"

/** As in the style sheet: the height of a row never depends on its content, or the list would jump. */
const rowHeight = 34
const narrowRowHeight = 52

const narrow = matchMedia("(max-width: 640px)")

/** One function for all drawings: a new one would make the list measure all rows anew. */
const measureRow = (): number => narrow.matches ? narrowRowHeight : rowHeight

/** Rows beyond the edge, so that fast scrolling shows no blank. */
const rowsBeyond = 12

const describeNext = ({ state }: DeviceRow) => {
  switch (state._tag) {
    case "Backoff":
      return (
        <>
          tries again <Ago at={state.retryAt} />
        </>
      )
    case "Quarantined":
      return (
        <>
          tries again <Ago at={state.until} />
        </>
      )
    default:
      return null
  }
}

const Row = memo(({ row }: { readonly row: DeviceRow }) => (
  <a className="device-row" href={hrefs.device(row.id)}>
    <StateBadge state={row.state._tag} />
    <span className="name" title={row.name}>{row.name}</span>
    <span className="phone num">{row.phone ?? "–"}</span>
    <span className="gateway" title={row.gateway}>{row.gateway}</span>
    <span className="next">{describeNext(row)}</span>
    <span className="since">
      <Ago at={row.since} />
    </span>
  </a>
))

export const DeviceTable = ({ rows }: { readonly rows: ReadonlyArray<DeviceRow> }) => {
  const scroller = useRef<HTMLDivElement>(null)
  const virtual = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: measureRow,
    overscan: rowsBeyond
  })
  return (
    <div className="device-table">
      <div className="scroller" ref={scroller} tabIndex={0} role="region" aria-label="Devices">
        <div className="device-row head" aria-hidden="true">
          <span>State</span>
          <span>Device</span>
          <span>Phone</span>
          <span>Gateway</span>
          <span>Next</span>
          <span>Since</span>
        </div>
        {rows.length === 0 ? <Empty>No device matches.</Empty> : null}
        <ul style={{ height: virtual.getTotalSize() }}>
          {virtual.getVirtualItems().map(({ index, start }) => {
            const row = rows[index]
            return row === undefined ?
              null :
              (
                <li
                  key={row.id}
                  style={{ transform: `translateY(${start}px)` }}
                  aria-setsize={rows.length}
                  aria-posinset={index + 1}
                >
                  <Row row={row} />
                </li>
              )
          })}
        </ul>
      </div>
    </div>
  )
}
