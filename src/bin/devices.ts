/** `columba devices …`: the fleet from the terminal, over the typed client. */
import { Console, Effect } from "effect"
import { Command, Flag } from "effect/cli"
import type { Device } from "../domain/Device.ts"
import { DeviceName } from "../domain/Device.ts"
import type { DeviceState } from "../domain/DeviceState.ts"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import type { Explanation } from "../domain/Explanation.ts"
import { GatewayName, UpstreamId } from "../domain/Ids.ts"
import { deviceArgument, remoteFlags, withClient } from "./remote.ts"
import { style } from "./style.ts"
import type { Style } from "./style.ts"
import { given } from "./settingsFlags.ts"

const json = Flag.Boolean("json").pipe(Flag.withDescription("print JSON, one object a line"), Flag.withDefault(false))

const list = Command.make(
  "list",
  {
    ...remoteFlags,
    json,
    state: Flag.Literals("state", DeviceStateTag.literals).pipe(
      Flag.withDescription("only devices in this state"),
      Flag.optional
    ),
    limit: Flag.Int("limit").pipe(Flag.withDescription("at most so many, 1 to 1000"), Flag.withDefault(100))
  },
  (flags) =>
    withClient(flags, (client) => client.devices.list({ ...given("state", flags.state), limit: flags.limit })).pipe(
      Effect.flatMap(({ items, next }) => {
        if (flags.json) return Effect.forEach(items, (device) => Console.log(JSON.stringify(device)), { discard: true })
        if (items.length === 0) return Console.log("no devices; add one with: columba devices add --name 'Front desk'")
        const more = next === null ? "" : "\nthere are more; raise --limit or read them page by page over the API"
        return Console.log(`${deviceTable(items, style(process.stdout))}${more}`)
      })
    )
).pipe(
  Command.withAlias("ls"),
  Command.withDescription("Shows the devices and how they stand"),
  Command.withExamples([
    { command: "columba devices list", description: "All of them" },
    { command: "columba devices list --state Quarantined", description: "Those set aside after repeated failures" },
    { command: "columba devices list --json | jq .state._tag", description: "For scripts" }
  ])
)

const add = Command.make("add", {
  ...remoteFlags,
  json,
  name: Flag.String("name").pipe(Flag.withDescription("a name for people"), Flag.withSchema(DeviceName)),
  gateway: Flag.String("gateway").pipe(
    Flag.withDescription("which configured gateway; the only one where left out"),
    Flag.withSchema(GatewayName),
    Flag.optional
  ),
  upstreamId: Flag.String("upstream-id").pipe(
    Flag.withDescription("the gateway's slot; made by us where left out"),
    Flag.withSchema(UpstreamId),
    Flag.optional
  )
}, (flags) =>
  withClient(flags, (client) =>
    client.devices.create({
      name: flags.name,
      ...given("gateway", flags.gateway),
      ...given("upstreamId", flags.upstreamId)
    })).pipe(
      Effect.flatMap((device) =>
        Console.log(
          flags.json
            ? JSON.stringify(device)
            : `added ${device.id}; it connects by itself. See how it does: columba devices explain ${device.id}`
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
    withClient(flags, (client) => client.devices.explain({ id: flags.device })).pipe(
      Effect.flatMap((found) =>
        Console.log(flags.json ? JSON.stringify(found) : explanation(found, style(process.stdout)))
      )
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

const stateColour = (tag: DeviceState["_tag"], colours: Style): (text: string) => string => {
  switch (tag) {
    case "Online":
      return colours.green
    case "Quarantined":
    case "LoggedOut":
      return colours.red
    case "Inactive":
      return colours.dim
    default:
      return colours.yellow
  }
}

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

/** Columns as wide as their widest cell; names are the only ones that can be long, so they are cut. */
export const deviceTable = (devices: ReadonlyArray<Device>, colours: Style): string => {
  const rows = devices.map(({ id, jid, name, state }) => ({
    id,
    name: name.length > nameWidthMax ? `${name.slice(0, nameWidthMax - 1)}…` : name,
    jid: jid ?? "-",
    state
  }))
  const width = (column: "name" | "jid"): number => Math.max(column.length, ...rows.map((row) => row[column].length))
  const [nameWidth, jidWidth] = [width("name"), width("jid")]
  const header = `${"id".padEnd(30)}  ${"name".padEnd(nameWidth)}  ${"account".padEnd(jidWidth)}  state`
  return [
    colours.dim(header),
    ...rows.map(({ id, jid, name, state }) =>
      `${id.padEnd(30)}  ${name.padEnd(nameWidth)}  ${jid.padEnd(jidWidth)}  ` +
      `${stateColour(state._tag, colours)(state._tag.padEnd(13))} ${colours.dim(detail(state))}`.trimEnd()
    )
  ].join("\n")
}

const nameWidthMax = 32

export const explanation = (found: Explanation, colours: Style): string => {
  const nextAt = found.nextAt === null ? "" : `, at ${found.nextAt}`
  return [
    `${colours.bold(found.deviceId)} is ${stateColour(found.state, colours)(found.state)}`,
    `why    ${found.why}${found.rule === null ? "" : colours.dim(` (rule '${found.rule}')`)}`,
    `next   ${found.next}${nextAt}`,
    ...(found.howToFix === null ? [] : [`mend   ${colours.cyan(found.howToFix)}`]),
    ...found.evidence.map((line, index) => `${index === 0 ? "seen   " : "       "}${colours.dim(line)}`)
  ].join("\n")
}
