/** `columba devices …`: the fleet from the terminal, over the typed client. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { PageLimit, pageLimitDefault, pageLimitMax } from "../contracts/Payloads.ts"
import type { Device } from "../domain/Device.ts"
import { DeviceName } from "../domain/Device.ts"
import type { DeviceState } from "../domain/DeviceState.ts"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import type { Explanation } from "../domain/Explanation.ts"
import { GatewayName, UpstreamId } from "../domain/Ids.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, deviceArgument, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { bold, cyan, dim, fit, green, padEnd, plain, red, styled, countColumns, yellow } from "./styledText.ts"
import type { Paint, Part } from "./styledText.ts"

const json = Flag.Boolean("json").pipe(Flag.withDescription("print JSON, one object per line"), Flag.withDefault(false))

const list = Command.make(
  "list",
  {
    ...remoteFlags,
    json,
    state: Flag.Literals("state", DeviceStateTag.literals).pipe(
      Flag.withDescription("only devices in this state"),
      Flag.optional
    ),
    limit: Flag.Int("limit").pipe(
      Flag.withDescription(`at most so many, 1 to ${pageLimitMax} (default ${pageLimitDefault})`),
      Flag.withSchema(PageLimit),
      Flag.withDefault(pageLimitDefault)
    )
  },
  (flags) =>
    withClient(
      flags,
      (client) => answeredInTime(client.devices.list({ ...given("state", flags.state), limit: flags.limit }))
    ).pipe(
      Effect.flatMap(({ items, next }) => {
        if (flags.json) return Effect.forEach(items, printJson, { discard: true })
        if (items.length > 0) return print(...deviceTable(items), ...(next === null ? [] : moreDevices))
        return flags.state._tag === "Some"
          ? print(`no device is in the state ${flags.state.value}`)
          : print("no devices; add one with: columba devices add --name 'Front desk'")
      })
    )
).pipe(
  Command.withAlias("ls"),
  Command.withDescription("Shows the devices and their states"),
  Command.withExamples([
    { command: "columba devices list", description: "All devices" },
    { command: "columba devices list --state Quarantined", description: "Those set aside after repeated failures" },
    { command: "columba devices list --json | jq .state._tag", description: "For scripts" }
  ])
)

const moreDevices = ["there are more; raise --limit, or read them page by page over the API"]

const add = Command.make("add", {
  ...remoteFlags,
  json,
  name: Flag.String("name").pipe(Flag.withDescription("a name for people"), Flag.withSchema(DeviceName)),
  gateway: Flag.String("gateway").pipe(
    Flag.withDescription("which gateway; may be left out where there is only one"),
    Flag.withSchema(GatewayName),
    Flag.optional
  ),
  upstreamId: Flag.String("upstream-id").pipe(
    Flag.withDescription("the slot at the gateway (default: the id of the new device)"),
    Flag.withSchema(UpstreamId),
    Flag.optional
  )
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(client.devices.create({
      name: flags.name,
      ...given("gateway", flags.gateway),
      ...given("upstreamId", flags.upstreamId)
    }))).pipe(
      Effect.flatMap((device) =>
        flags.json
          ? printJson(device)
          : print(
            `added ${device.id}; it connects by itself. See how it does: columba devices explain ${device.id}`
          )
      )
    )).pipe(
    Command.withDescription("Adds a device and lets the fleet connect it"),
    Command.withExamples([
      { command: "columba devices add --name 'Front desk'", description: "A new slot at the only gateway" },
      {
        command: "columba devices add --name Sales --upstream-id sales-01",
        description: "A slot that the gateway has already"
      }
    ])
  )

const explain = Command.make(
  "explain",
  { ...remoteFlags, json, device: deviceArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.devices.explain({ id: flags.device }))).pipe(
      Effect.flatMap((found) => flags.json ? printJson(found) : print(...explanation(found)))
    )
).pipe(
  Command.withDescription("Says why a device is in its state, what happens next and when, and what you can do"),
  Command.withExamples([
    { command: "columba devices explain dev_01K5ZQ…", description: "Ids are in the first column of 'devices list'" }
  ])
)

export const devices = Command.make("devices").pipe(
  Command.withDescription("Look at the fleet and add to it"),
  Command.withSubcommands([list, add, explain])
)

const stateColours: Readonly<Partial<Record<DeviceStateTag, Paint>>> = {
  Online: green,
  Quarantined: red,
  LoggedOut: red,
  Inactive: dim
}

const paintState = (tag: DeviceStateTag): Part => (stateColours[tag] ?? yellow)(tag)

const detail = (state: DeviceState): string => {
  switch (state._tag) {
    case "Online":
      return `since ${state.since}`
    case "Connecting":
      return state.sessionOpen ? "session open; not confirmed by the gateway" : `attempt ${state.attempt}`
    case "Backoff":
      return `${state.reason.code}; next attempt at ${state.retryAt}`
    case "Quarantined":
      return `${state.reason.code}; until ${state.until}`
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
export const deviceTable = (devices: ReadonlyArray<Device>): ReadonlyArray<Part> => {
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
      const more = detail(state)
      return more === ""
        ? styled`${row}${paintState(state._tag)}`
        : styled`${row}${padEnd(paintState(state._tag), stateWidth)}  ${dim(more)}`
    })
  ]
}

export const explanation = (found: Explanation): ReadonlyArray<Part> => [
  styled`${bold(found.deviceId)} is ${paintState(found.state)}`,
  styled`why    ${found.why}${found.rule === null ? "" : dim(` (rule '${found.rule}')`)}`,
  styled`next   ${found.next}${found.nextAt === null ? "" : `, at ${found.nextAt}`}`,
  ...(found.howToFix === null ? [] : [styled`fix    ${cyan(found.howToFix)}`]),
  ...found.evidence.map((line, index) => styled`${index === 0 ? "seen   " : "       "}${dim(line)}`)
]
