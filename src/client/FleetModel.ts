/**
 * All devices as the dashboard and the terminal show them, built from the items of `WatchDevices`: pure, and made for
 * ten thousand devices and hundreds of changes a second. A row that has not changed stays the same object, so it is
 * not drawn again.
 */
import type { WatchItem } from "../contracts/EventPayloads.ts"
import type { Device } from "../domain/Device.ts"
import type { DeviceState, DeviceStateTag } from "../domain/DeviceState.ts"
import type { DeviceId } from "../domain/Ids.ts"

export interface DeviceRow {
  readonly id: DeviceId
  readonly name: string
  readonly gateway: string
  readonly phone: string | null
  readonly state: DeviceState
  /** When the device came into its state, or its row was last changed. */
  readonly since: string
  /** The text that a search looks at, in lower case. */
  readonly words: string
  /** Orders names as people do: `Desk 9` before `Desk 10`. */
  readonly order: string
}

export type Counts = Readonly<Record<DeviceStateTag, number>>

export interface FleetView {
  /** Every device has been sent once. */
  readonly synced: boolean
  /** By name. */
  readonly rows: ReadonlyArray<DeviceRow>
  readonly byId: ReadonlyMap<DeviceId, DeviceRow>
  readonly counts: Counts
  /** Devices that do not recover without a person, the worst first. */
  readonly needy: ReadonlyArray<DeviceRow>
  readonly gateways: ReadonlyArray<string>
}

const none: Counts = {
  Online: 0,
  Connecting: 0,
  Backoff: 0,
  AwaitingLogin: 0,
  LoggedOut: 0,
  Deaf: 0,
  Quarantined: 0,
  Inactive: 0
}

/** How much a device needs a person: 0 for not at all; higher is more urgent. */
export const rankNeed = ({ state }: Pick<DeviceRow, "state">): number => {
  switch (state._tag) {
    case "Quarantined":
      return 4
    case "Backoff":
      return state.reason.class === "auth" || state.reason.class === "conflict" ? 3 : 0
    case "LoggedOut":
      return 2
    case "AwaitingLogin":
      return 1
    default:
      return 0
  }
}

const orderOf = (name: string): string => name.toLowerCase().replace(/\d+/g, (digits) => digits.padStart(12, "0"))

const wordsOf = (row: Pick<DeviceRow, "id" | "name" | "gateway" | "phone">): string =>
  `${row.name}\n${row.phone ?? ""}\n${row.id}\n${row.gateway}`.toLowerCase()

const fromDevice = ({ gateway, id, name, phone, state, updatedAt }: Device): DeviceRow => {
  const row = { id, name, gateway, phone, state, since: state._tag === "Online" ? state.since : updatedAt }
  return { ...row, words: wordsOf(row), order: orderOf(name) }
}

export class FleetModel {
  readonly #byId = new Map<DeviceId, DeviceRow>()
  readonly #counts: Record<DeviceStateTag, number> = { ...none }
  readonly #needy = new Set<DeviceId>()
  readonly #gateways = new Set<string>()
  #rows: ReadonlyArray<DeviceRow> = []
  /** The index of each device among the rows. */
  #places = new Map<DeviceId, number>()
  #unsorted = false
  #synced = false

  /**
   * The cost of a change of state does not grow with the number of devices, except for one copy of the list per call.
   */
  apply(items: Iterable<WatchItem>): FleetView {
    const changed = new Set<DeviceId>()
    for (const item of items) {
      const row = this.#next(item)
      if (row === null) continue
      this.#replace(row)
      changed.add(row.id)
    }
    if (this.#unsorted) this.#sort()
    else if (changed.size > 0) {
      const rows = [...this.#rows]
      for (const id of changed) rows[this.#places.get(id)!] = this.#byId.get(id)!
      this.#rows = rows
    }
    return {
      synced: this.#synced,
      rows: this.#rows,
      byId: this.#byId,
      counts: { ...this.#counts },
      needy: [...this.#needy].map((id) => this.#byId.get(id)!).sort((left, right) => rankNeed(right) - rankNeed(left)),
      gateways: [...this.#gateways].sort()
    }
  }

  /** The new row of an item; null if the item changes none. */
  #next(item: WatchItem): DeviceRow | null {
    if (item._tag === "Synced") this.#synced = true
    if (item._tag === "Device") return fromDevice(item.device)
    if (item._tag !== "Changed" && item._tag !== "Renamed") return null
    const known = this.#byId.get(item.deviceId)
    if (known === undefined) return null
    const row = item._tag === "Changed"
      ? { ...known, state: item.state, phone: item.phone ?? known.phone, since: item.at }
      : { ...known, name: item.name, order: orderOf(item.name) }
    return row.phone === known.phone && row.name === known.name ? row : { ...row, words: wordsOf(row) }
  }

  #replace(row: DeviceRow): void {
    const known = this.#byId.get(row.id)
    if (known !== undefined) this.#counts[known.state._tag]--
    if (known?.order !== row.order) this.#unsorted = true
    this.#counts[row.state._tag]++
    this.#byId.set(row.id, row)
    this.#gateways.add(row.gateway)
    if (rankNeed(row) > 0) this.#needy.add(row.id)
    else this.#needy.delete(row.id)
  }

  #sort(): void {
    this.#rows = [...this.#byId.values()].sort((left, right) =>
      left.order < right.order ? -1 : left.order > right.order ? 1 : left.id < right.id ? -1 : 1
    )
    this.#places = new Map(this.#rows.map(({ id }, place) => [id, place]))
    this.#unsorted = false
  }
}

export interface RowFilter {
  readonly search: string
  readonly state: DeviceStateTag | "all" | "needy"
  readonly gateway: string
}

export const filterRows = (view: FleetView, { gateway, search, state }: RowFilter): ReadonlyArray<DeviceRow> => {
  const wanted = search.trim().toLowerCase()
  const from = state === "needy" ? view.needy : view.rows
  if (wanted === "" && gateway === "" && (state === "all" || state === "needy")) return from
  return from.filter((row) =>
    (state === "all" || state === "needy" || row.state._tag === state) &&
    (gateway === "" || row.gateway === gateway) &&
    (wanted === "" || row.words.includes(wanted))
  )
}
