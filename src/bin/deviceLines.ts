/** Devices as lines of text: a table, a summary, and the explanation of a state. */
import type { Device } from "../domain/Device.ts"
import type { DeviceState } from "../domain/DeviceState.ts"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import type { Explanation } from "../domain/Explanation.ts"
import { bold, countColumns, cyan, dim, fit, green, join, padEnd, plain, red, styled, yellow } from "./styledText.ts"
import type { Paint, Part } from "./styledText.ts"
import { describeTime } from "./times.ts"

const stateColours: Readonly<Partial<Record<DeviceStateTag, Paint>>> = {
  Online: green,
  Quarantined: red,
  LoggedOut: red,
  Inactive: dim
}

export const paintState = (tag: DeviceStateTag): Part => (stateColours[tag] ?? yellow)(tag)

/** The details of a state besides its name; empty if there are none. */
export const describeState = (state: DeviceState, now: number): string => {
  switch (state._tag) {
    case "Online":
      return `since ${describeTime(state.since, now)}`
    case "Connecting":
      return state.sessionOpen ? "session open; not confirmed by the gateway" : `attempt ${state.attempt}`
    case "Backoff":
      return `${state.reason.code}; next attempt ${describeTime(state.retryAt, now)}`
    case "Quarantined":
      return `${state.reason.code}; ends ${describeTime(state.until, now)}`
    case "LoggedOut":
      return state.reason
    case "Deaf":
      return state.evidence
    default:
      return ""
  }
}

/** Longer names are cut: every other column has a bound of its own. */
const nameWidthMax = 32

const stateWidth = Math.max(...DeviceStateTag.literals.map((tag) => tag.length))

/** Columns as wide as their widest cell. */
export const deviceTable = (devices: ReadonlyArray<Device>, now: number): ReadonlyArray<Part> => {
  const rows = devices.map(({ id, jid, name, state }) => ({
    id,
    name: fit(name, nameWidthMax),
    jid: plain(jid ?? "-"),
    state
  }))
  const idWidth = Math.max(...rows.map(({ id }) => id.length))
  const nameWidth = Math.max("name".length, ...rows.map(({ name }) => countColumns(name)))
  const jidWidth = Math.max("account".length, ...rows.map(({ jid }) => countColumns(jid)))
  const header = `${"id".padEnd(idWidth)}  ${"name".padEnd(nameWidth)}  ${"account".padEnd(jidWidth)}  state`
  return [
    dim(header),
    ...rows.map(({ id, jid, name, state }) => {
      const row = styled`${padEnd(id, idWidth)}  ${padEnd(name, nameWidth)}  ${padEnd(jid, jidWidth)}  `
      const more = describeState(state, now)
      return more === ""
        ? styled`${row}${paintState(state._tag)}`
        : styled`${row}${padEnd(paintState(state._tag), stateWidth)}  ${dim(more)}`
    })
  ]
}

/** `25 devices: 23 Online, 2 Backoff`: the listed devices, in the order of the states' life. */
export const deviceSummary = (devices: ReadonlyArray<Device>): Part => {
  const counts = DeviceStateTag.literals.flatMap((tag) => {
    const count = devices.filter(({ state }) => state._tag === tag).length
    return count === 0 ? [] : [styled`${count} ${paintState(tag)}`]
  })
  return styled`${devices.length === 1 ? "1 device" : `${devices.length} devices`}: ${join(counts, ", ")}`
}

/** Empty if no message waits. */
const describeSending = (sending: Explanation["sending"], now: number): ReadonlyArray<Part> => {
  if (sending === null || sending.waiting === 0) return []
  const until = sending.waitsFor?.until ?? null
  const why = sending.waitsFor === null
    ? ""
    : `; the next one waits for: ${sending.waitsFor.reason}${until === null ? "" : `, ${describeTime(until, now)}`}`
  return [styled`send   ${sending.waiting} to be sent${why}${dim(` (pacing ${sending.pacing})`)}`]
}

export const explanation = (found: Explanation, now: number): ReadonlyArray<Part> => [
  styled`${bold(found.deviceId)} is ${paintState(found.state)}`,
  styled`why    ${found.why}${found.rule === null ? "" : dim(` (rule '${found.rule}')`)}`,
  styled`next   ${found.next}${
    found.nextAt === null ? "" : `, ${describeTime(found.nextAt, now)} (at ${found.nextAt})`
  }`,
  ...describeSending(found.sending, now),
  ...(found.howToFix === null ? [] : [styled`fix    ${cyan(found.howToFix)}`]),
  ...found.evidence.map((line, index) => styled`${index === 0 ? "seen   " : "       "}${dim(line)}`)
]
