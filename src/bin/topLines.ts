/** `columba top` as lines, for a terminal of any size from 40 columns on. */
import type { DeviceRow } from "../client/FleetModel.ts"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import { describeState, explanation, paintState } from "./deviceLines.ts"
import { bold, countColumns, cyan, dim, fit, green, join, padEnd, red, styled, wrap, yellow } from "./styledText.ts"
import type { Part } from "./styledText.ts"
import { describeTime } from "./times.ts"
import { listRows } from "./topModel.ts"
import type { TopState } from "./topModel.ts"

const number = new Intl.NumberFormat("en-US")

/** Maximum width of names and accounts, if there is room. */
const nameMax = 28
const accountColumns = 16
const stateColumns = Math.max(...DeviceStateTag.literals.map((tag) => tag.length))
/** From this width on there is a column for the phone number. */
const accountFrom = 72

const label = (name: string, value: Part): Part => styled`${padEnd(bold(name), 8)} ${value}`

const describeDevices = ({ fleet: { counts, rows, synced } }: TopState): Part => {
  if (!synced) return dim("reading …")
  if (rows.length === 0) return styled`0 ${dim("add one: columba devices add --name 'Front desk'")}`
  return join(
    DeviceStateTag.literals.flatMap((tag) =>
      counts[tag] === 0 ? [] : [styled`${number.format(counts[tag])} ${paintState(tag)}`]
    ),
    "  "
  )
}

const describeEvents = ({ overview, rate }: TopState): Part => {
  if (overview === null) return dim("not known to this key")
  if (overview.head === null) return red("the database does not answer")
  const gaps = (overview.openGaps ?? []).reduce((sum, { count }) => sum + count, 0)
  return styled`${number.format(overview.head)}${rate === null ? "" : `  ${rate.toFixed(1)}/s`}${
    gaps === 0 ? "" : yellow(`  ${number.format(gaps)} open ${gaps === 1 ? "gap" : "gaps"}`)
  }`
}

const describeSinks = ({ overview }: TopState): Part => {
  const sinks = overview?.sinks ?? []
  return sinks.length === 0
    ? dim("none in the process that answers")
    : join(
      sinks.map(({ expired, failure, lag, sink }) => {
        const text = styled`${sink} ${number.format(lag)} behind${
          expired > 0 ? `, ${number.format(expired)} lost` : ""
        }`
        return failure === null && expired === 0 ? text : red(text)
      }),
      "  "
    )
}

/** One line for the worst trouble; the dashboard has all of it. */
const describeTrouble = ({ lostSince, overview }: TopState, now: number): Part => {
  if (lostSince !== null) {
    return red(`the server stopped answering ${describeTime(new Date(lostSince).toISOString(), now)}; trying again`)
  }
  const [incident, ...others] = overview?.incidents ?? []
  if (incident !== undefined) {
    const more = others.length === 0 ? "" : ` (and ${others.length} more)`
    return red(
      `gateway '${incident.gateway}' went down ${describeTime(incident.since, now)}: ${incident.reason}${more}`
    )
  }
  const failing = overview?.sinks.find(({ failure }) => failure !== null)
  return failing === undefined ? "" : red(`${failing.sink}: ${failing.failure?.message ?? ""}`)
}

const tableWidths = ({ rows, size }: TopState) => {
  const withAccount = size.columns >= accountFrom
  const left = size.columns - 2 - 2 - stateColumns - (withAccount ? accountColumns + 2 : 0)
  const widest = rows.reduce((most, { name }) => Math.max(most, countColumns(name)), "name".length)
  return { withAccount, name: Math.max(8, Math.min(nameMax, widest, left)) }
}

const describeRow = (row: DeviceRow, state: TopState, widths: ReturnType<typeof tableWidths>, now: number): Part => {
  const isSelected = row.id === state.selected
  const name = padEnd(fit(row.name, widths.name), widths.name)
  const before = 2 + widths.name + 2 + (widths.withAccount ? accountColumns + 2 : 0) + stateColumns + 2
  const hasRoom = state.size.columns - before >= detailColumnsMin
  const account = widths.withAccount ? `${fit(row.phone ?? "-", accountColumns)}`.padEnd(accountColumns + 2) : ""
  return styled`${isSelected ? cyan("› ") : "  "}${isSelected ? bold(name) : name}  ${account}${
    padEnd(paintState(row.state._tag), stateColumns)
  }${hasRoom ? styled`  ${dim(describeState(row.state, now))}` : ""}`
}

/** As many as fit, including the selected one. */
const listLines = (state: TopState, now: number): ReadonlyArray<Part> => {
  const widths = tableWidths(state)
  const count = listRows(state)
  const place = Math.max(0, state.rows.findIndex(({ id }) => id === state.selected))
  const first = Math.max(0, Math.min(place - Math.floor(count / 2), state.rows.length - count))
  const shown = state.rows.slice(first, first + count)
  const account = widths.withAccount ? "phone".padEnd(accountColumns + 2) : ""
  const of = state.rows.length === state.fleet.rows.length ? "" : ` of ${number.format(state.fleet.rows.length)}`
  return [
    dim(`  ${"name".padEnd(widths.name)}  ${account}state  (${number.format(state.rows.length)}${of})`),
    ...shown.map((row) => describeRow(row, state, widths, now)),
    ...(state.rows.length === 0 && state.fleet.rows.length > 0 ? [dim("  no device is like that; Esc shows all")] : [])
  ]
}

const keyColumns = 24
/** Width of the keys if there is no room for the names of all. */
const keyColumnsNarrow = 7

/** The label at the beginning of a line of `explanation`, or none for a continuation. */
const labelled = /^(why|next|send|fix|seen|) +/
const labelColumns = 7

/** With fewer columns there is no room for the details of a state. */
const detailColumnsMin = 12

const keys: ReadonlyArray<readonly [name: string, what: string, short?: string]> = [
  ["↑ ↓ PgUp PgDn Home End", "choose a device", "↑ ↓"],
  ["/", "search names, phone numbers, ids and gateways"],
  ["s", "show those that need a person, or are in one state"],
  ["g", "show devices of one gateway"],
  ["o", "order by need, name or last change"],
  ["Esc", "show all again"],
  ["e, Enter", "why a device is in its state, and what helps", "e"],
  ["r", "release a device from quarantine"],
  ["q, Ctrl-C", "leave", "q"]
]

const middle = (state: TopState, now: number): ReadonlyArray<Part> => {
  const { mode, size } = state
  if (mode._tag === "Help") {
    return keys.flatMap(([key, what, short = key]) =>
      size.columns >= accountFrom
        ? [styled`${padEnd(cyan(key), keyColumns)}${what}`]
        : wrap(styled`${padEnd(cyan(short), keyColumnsNarrow)}${what}`, size.columns, keyColumnsNarrow)
    )
  }
  if (mode._tag !== "Explain") return listLines(state, now)
  if (mode.found === null) return [dim("asking …")]
  const name = state.fleet.byId.get(mode.id)?.name
  return [
    ...(name === undefined ? [] : [bold(name)]),
    ...explanation(mode.found, now).flatMap((line) =>
      wrap(line, size.columns, labelled.test(String(line)) ? labelColumns : 0)
    )
  ]
}

/** The keys, and the current settings. A narrow terminal shows only settings that differ from the defaults. */
const short = ({ filter, order, size }: TopState): Part => {
  const isWide = size.columns >= accountFrom
  const key = (name: string, value: Part, isShown = isWide): ReadonlyArray<Part> =>
    isShown ? [styled`${dim(name)} ${value}`] : []
  return join([
    ...key("/", filter.search === "" ? "search" : cyan(filter.search), isWide || filter.search !== ""),
    ...key("s", filter.state === "all" ? "all" : cyan(filter.state), isWide || filter.state !== "all"),
    ...key("g", cyan(filter.gateway), filter.gateway !== ""),
    ...key("o", order),
    ...key("e", "explain"),
    ...key("r", "release"),
    ...key("?", "help", true),
    ...key("q", "quit", true)
  ], "  ")
}

const foot = (state: TopState): Part => {
  const { mode, said } = state
  switch (mode._tag) {
    case "Search":
      return styled`search: ${cyan(state.filter.search)}▏${dim("  Enter keeps it, Esc shows all")}`
    case "Release":
      return yellow(`release ${state.fleet.byId.get(mode.id)?.name ?? mode.id} from quarantine? y or n`)
    case "Explain":
    case "Help":
      return dim("Esc goes back")
    case "List":
      return said === null ? short(state) : said.ok ? green(said.text) : red(said.text)
  }
}

export const topLines = (state: TopState, now: number): ReadonlyArray<Part> => {
  const { rows } = state.size
  const body = middle(state, now).slice(0, Math.max(1, rows - 7))
  const above = [
    label("devices", describeDevices(state)),
    label("events", describeEvents(state)),
    label("sinks", describeSinks(state)),
    describeTrouble(state, now),
    ""
  ]
  const blank = Array.from({ length: Math.max(1, rows - above.length - body.length - 1) }, () => "")
  return [...above, ...body, ...blank, foot(state)]
}
