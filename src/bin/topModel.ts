/** The content of `columba top` and the effect of its keys. Pure: `top` carries out the commands, `topLines` draws. */
import type { Terminal } from "effect"
import { filterRows, FleetModel, rankNeed } from "../client/FleetModel.ts"
import type { DeviceRow, FleetView, RowFilter } from "../client/FleetModel.ts"
import type { Overview } from "../contracts/ServerPayloads.ts"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import type { Explanation } from "../domain/Explanation.ts"
import type { DeviceId } from "../domain/Ids.ts"

export const orders = ["need", "name", "change"] as const
export type Order = (typeof orders)[number]

/** The states that `s` cycles through: a state without devices is skipped. */
const stateFilters = ({ filter, fleet }: TopState): ReadonlyArray<RowFilter["state"]> => [
  "all",
  "needy",
  ...DeviceStateTag.literals.filter((tag) => fleet.counts[tag] > 0 || filter.state === tag)
]

/** What covers the list, or stands below it. */
export type Mode =
  | { readonly _tag: "List" }
  | { readonly _tag: "Search" }
  | { readonly _tag: "Explain"; readonly id: DeviceId; readonly found: Explanation | null }
  | { readonly _tag: "Release"; readonly id: DeviceId }
  | { readonly _tag: "Help" }

export interface TopState {
  readonly fleet: FleetView
  /** Null until the first answer, and for a key that is limited to some devices. */
  readonly overview: Overview | null
  /** Events per second between the last two answers; null before there are two. */
  readonly rate: number | null
  /** Since when the server does not answer, by this machine's clock; null while it answers. */
  readonly lostSince: number | null
  readonly filter: RowFilter
  readonly order: Order
  /** The devices that the filter lets through, in order. */
  readonly rows: ReadonlyArray<DeviceRow>
  readonly selected: DeviceId | null
  readonly size: Terminal.Size
  readonly mode: Mode
  /** The result of the last command. */
  readonly said: { readonly ok: boolean; readonly text: string } | null
  /** The caller's key may do more than read. */
  readonly mayManage: boolean
}

export type TopCommand =
  | { readonly _tag: "Explain"; readonly id: DeviceId }
  | { readonly _tag: "Release"; readonly id: DeviceId }
  | { readonly _tag: "Quit" }

export type TopInput =
  | { readonly _tag: "Fleet"; readonly view: FleetView }
  | { readonly _tag: "Figures"; readonly overview: Overview | null; readonly lostAt: number | null }
  | { readonly _tag: "Key"; readonly key: Terminal.UserInput }
  | { readonly _tag: "Size"; readonly size: Terminal.Size }
  | { readonly _tag: "Explained"; readonly id: DeviceId; readonly found: Explanation }
  | { readonly _tag: "Said"; readonly ok: boolean; readonly text: string }
  | { readonly _tag: "Tick" }
  /** The terminal was closed. */
  | { readonly _tag: "Ended" }

export interface Stepped {
  readonly state: TopState
  readonly command: TopCommand | null
}

/** Lines outside of the list: four above with a blank one, the head of the columns, and two below. */
export const listRows = ({ size }: Pick<TopState, "size">): number => Math.max(1, size.rows - 8)

export const begin = (size: Terminal.Size, mayManage: boolean): TopState => ({
  fleet: new FleetModel().apply([]),
  overview: null,
  rate: null,
  lostSince: null,
  filter: { search: "", state: "all", gateway: "" },
  order: "need",
  rows: [],
  selected: null,
  size,
  mode: { _tag: "List" },
  said: null,
  mayManage
})

const compare: Readonly<Record<Order, (left: DeviceRow, right: DeviceRow) => number>> = {
  // Rows are sorted by name, and sorting keeps the order of equals.
  name: () => 0,
  need: (left, right) => rankNeed(right) - rankNeed(left),
  change: (left, right) => left.since < right.since ? 1 : left.since > right.since ? -1 : 0
}

/** The list again, with the same device selected; if it is gone, the one in its place. */
const arranged = (state: TopState): TopState => {
  const rows = filterRows(state.fleet, state.filter).toSorted(compare[state.order])
  const place = Math.max(0, state.rows.findIndex(({ id }) => id === state.selected))
  const kept = rows.some(({ id }) => id === state.selected)
  return { ...state, rows, selected: kept ? state.selected : rows[Math.min(place, rows.length - 1)]?.id ?? null }
}

const select = (state: TopState, place: (before: number) => number): TopState => {
  const before = state.rows.findIndex(({ id }) => id === state.selected)
  const wanted = Math.max(0, Math.min(place(before), state.rows.length - 1))
  return { ...state, selected: state.rows[wanted]?.id ?? null }
}

const search = (state: TopState, change: (text: string) => string): TopState =>
  arranged({ ...state, filter: { ...state.filter, search: change(state.filter.search) } })

/** Longer than any name. */
const searchMax = 100

const next = <A>(all: ReadonlyArray<A>, one: A): A => all[(all.indexOf(one) + 1) % all.length]!

const stay = (state: TopState): Stepped => ({ state, command: null })
const list: Mode = { _tag: "List" }

const pressInSearch = (state: TopState, { input, key }: Terminal.UserInput): Stepped => {
  if (key.name === "return") return stay({ ...state, mode: list })
  if (key.name === "escape") return stay({ ...search(state, () => ""), mode: list })
  if (key.name === "backspace") return stay(search(state, (text) => Array.from(text).slice(0, -1).join("")))
  const typed = input._tag === "Some" && !key.ctrl && !key.meta ? input.value.replaceAll(/\p{Cc}/gu, "") : ""
  return stay(typed === "" ? state : search(state, (text) => `${text}${typed}`.slice(0, searchMax)))
}

const pressRelease = (state: TopState, id: DeviceId, name: string): Stepped =>
  name === "y"
    ? { state: { ...state, mode: list }, command: { _tag: "Release", id } }
    : stay({ ...state, mode: list })

const release = (state: TopState): Stepped => {
  const row = state.rows.find(({ id }) => id === state.selected)
  if (row === undefined) return stay(state)
  const refuse = (text: string) => stay({ ...state, said: { ok: false, text } })
  if (!state.mayManage) return refuse("this key may only read")
  if (row.state._tag !== "Quarantined") return refuse(`${row.name} is not quarantined`)
  return stay({ ...state, mode: { _tag: "Release", id: row.id } })
}

const explain = (state: TopState): Stepped =>
  state.selected === null ? stay(state) : {
    state: { ...state, mode: { _tag: "Explain", id: state.selected, found: null } },
    command: { _tag: "Explain", id: state.selected }
  }

const press = (before: TopState, pressed: Terminal.UserInput): Stepped => {
  const { input, key } = pressed
  if (key.ctrl && (key.name === "c" || key.name === "d")) return { state: before, command: { _tag: "Quit" } }
  const state: TopState = before.said === null ? before : { ...before, said: null }
  const { mode } = state
  if (mode._tag === "Search") return pressInSearch(state, pressed)
  if (mode._tag === "Release") return pressRelease(state, mode.id, key.name)
  const typed = input._tag === "Some" ? input.value : ""
  if (mode._tag !== "List" && /^(escape|return|q|e)$/.test(key.name)) return stay({ ...state, mode: list })
  const page = listRows(state)
  switch (typed === "/" || typed === "?" ? typed : key.name) {
    case "q":
      return { state, command: { _tag: "Quit" } }
    case "up":
    case "k":
      return stay(select(state, (at) => at - 1))
    case "down":
    case "j":
      return stay(select(state, (at) => at + 1))
    case "pageup":
      return stay(select(state, (at) => at - page))
    case "pagedown":
      return stay(select(state, (at) => at + page))
    case "home":
      return stay(select(state, () => 0))
    case "end":
      return stay(select(state, () => state.rows.length - 1))
    case "/":
      return stay({ ...state, mode: { _tag: "Search" } })
    case "?":
      return stay({ ...state, mode: { _tag: "Help" } })
    case "escape":
      return stay(arranged({ ...state, filter: { search: "", state: "all", gateway: "" } }))
    case "s":
      return stay(
        arranged({ ...state, filter: { ...state.filter, state: next(stateFilters(state), state.filter.state) } })
      )
    case "g":
      return stay(arranged({
        ...state,
        filter: { ...state.filter, gateway: next(["", ...state.fleet.gateways], state.filter.gateway) }
      }))
    case "o":
      return stay(arranged({ ...state, order: next(orders, state.order) }))
    case "e":
    case "return":
      return explain(state)
    case "r":
      return release(state)
    default:
      return stay(state)
  }
}

const takeFigures = (state: TopState, overview: Overview | null, lostAt: number | null): TopState => {
  if (lostAt !== null) return { ...state, lostSince: state.lostSince ?? lostAt }
  const before = state.overview
  const seconds = before === null || overview === null ? 0 : (Date.parse(overview.at) - Date.parse(before.at)) / 1000
  const grown = (overview?.head ?? 0) - (before?.head ?? 0)
  // A log that went back has no rate.
  const known = seconds > 0 && grown >= 0 && overview?.head !== null && before?.head !== null
  return { ...state, overview, lostSince: null, rate: known ? grown / seconds : null }
}

export const step = (state: TopState, input: TopInput): Stepped => {
  switch (input._tag) {
    case "Fleet":
      return stay(arranged({ ...state, fleet: input.view }))
    case "Figures":
      return stay(takeFigures(state, input.overview, input.lostAt))
    case "Size":
      return stay({ ...state, size: input.size })
    case "Explained":
      return stay(
        state.mode._tag === "Explain" && state.mode.id === input.id
          ? { ...state, mode: { ...state.mode, found: input.found } }
          : state
      )
    case "Said":
      return stay({ ...state, mode: list, said: { ok: input.ok, text: input.text } })
    case "Key":
      return press(state, input.key)
    case "Tick":
      return stay(state)
    case "Ended":
      return { state, command: { _tag: "Quit" } }
  }
}
