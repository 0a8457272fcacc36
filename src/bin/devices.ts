/** `columba devices …`: the fleet from the terminal, over the typed client. */
import { Effect } from "effect"
import { Command, Flag } from "effect/cli"
import { DeviceName } from "../domain/Device.ts"
import { DeviceStateTag } from "../domain/DeviceState.ts"
import { GatewayName, UpstreamId } from "../domain/Ids.ts"
import { deviceCommands } from "./deviceCommands.ts"
import { deviceSummary, deviceTable, explanation } from "./deviceLines.ts"
import { login } from "./deviceLogin.ts"
import { limitFlag, moreLines } from "./pages.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, deviceArgument, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"

const list = Command.make(
  "list",
  {
    ...remoteFlags,
    json,
    state: Flag.Literals("state", DeviceStateTag.literals).pipe(
      Flag.withDescription("only devices in this state"),
      Flag.optional
    ),
    limit: limitFlag()
  },
  (flags) =>
    withClient(
      flags,
      (client) => answeredInTime(client.devices.list({ ...given("state", flags.state), limit: flags.limit }))
    ).pipe(
      Effect.flatMap(({ items, next }) => {
        if (flags.json) return Effect.forEach(items, printJson, { discard: true })
        if (items.length > 0) {
          return print(...deviceTable(items, Date.now()), deviceSummary(items), ...(next === null ? [] : moreLines))
        }
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
    {
      command: "columba devices list --state Quarantined",
      description: "Devices in quarantine after repeated failures"
    },
    { command: "columba devices list --json | jq .state._tag", description: "For scripts" }
  ])
)

const add = Command.make("add", {
  ...remoteFlags,
  json,
  name: Flag.String("name").pipe(Flag.withDescription("a name for people"), Flag.withSchema(DeviceName)),
  gateway: Flag.String("gateway").pipe(
    Flag.withDescription("the gateway; optional if there is only one"),
    Flag.withSchema(GatewayName),
    Flag.optional
  ),
  upstreamId: Flag.String("upstream-id").pipe(
    Flag.withDescription("the id of the slot at the gateway (default: the id of the new device)"),
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
            `added ${device.id}; it connects automatically. To link an account: columba devices login ${device.id}`
          )
      )
    )).pipe(
    Command.withDescription("Adds a device and lets the fleet connect it"),
    Command.withExamples([
      { command: "columba devices add --name 'Front desk'", description: "A new slot at the only gateway" },
      {
        command: "columba devices add --name Sales --upstream-id sales-01",
        description: "A slot that exists at the gateway"
      }
    ])
  )

const explain = Command.make(
  "explain",
  { ...remoteFlags, json, device: deviceArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.devices.explain({ id: flags.device }))).pipe(
      Effect.flatMap((found) => flags.json ? printJson(found) : print(...explanation(found, Date.now())))
    )
).pipe(
  Command.withDescription("Explains why a device is in its state, what happens next and when, and what you can do"),
  Command.withExamples([
    { command: "columba devices explain dev_01K5ZQ…", description: "Ids are in the first column of 'devices list'" }
  ])
)

export const devices = Command.make("devices").pipe(
  Command.withDescription("Manage devices: list, add, explain, log in and out"),
  Command.withSubcommands([list, add, login, explain, ...deviceCommands])
)
