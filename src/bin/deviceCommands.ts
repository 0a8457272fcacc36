/** `columba devices …`: the commands that change one device, or ask its gateway about it, over the typed client. */
import { Effect } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { ColumbaClient } from "../client/ColumbaClient.ts"
import type { Device } from "../domain/Device.ts"
import { DeviceName } from "../domain/Device.ts"
import { autoReplyFields } from "../domain/AutoReply.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { formatPacing, isOff } from "../domain/Pacing.ts"
import { deviceTable } from "./deviceLines.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, deviceArgument, json, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { plain, styled } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** A failure of a call: every one has a tag, and a sentence for people. */
type Failure = { readonly _tag: string; readonly message: string }

/** A command on one device that returns the changed device. */
const change = <const Name extends string, E extends Failure>(
  name: Name,
  description: string,
  meaning: string,
  call: (client: ColumbaClient["Service"], device: Device["id"]) => Effect.Effect<Device, E>,
  done: (device: Device) => Part
) =>
  Command.make(
    name,
    { ...remoteFlags, json, device: deviceArgument },
    (flags) =>
      withClient(flags, (client) => answeredInTime(call(client, flags.device))).pipe(
        Effect.flatMap((device) => flags.json ? printJson(device) : print(done(device)))
      )
  ).pipe(
    Command.withDescription(description),
    Command.withExamples([{ command: `columba devices ${name} dev_01K5ZQ…`, description: meaning }])
  )

const reconnect = change(
  "reconnect",
  "Has a device close its connection and open a new one",
  "Where a connection seems stuck",
  (client, id) => client.devices.reconnect({ id }),
  ({ id }) => styled`${id} reconnects. See how it does: columba devices explain ${id}`
)

const release = change(
  "release",
  "Ends the quarantine of a device now",
  "After the cause was fixed",
  (client, id) => client.devices.release({ id }),
  ({ id }) => styled`${id} is released. See how it does: columba devices explain ${id}`
)

const deactivate = change(
  "deactivate",
  "Closes a device's connection and keeps its data",
  "The account stays logged in at the gateway; 'disconnect' logs it out",
  (client, id) => client.devices.deactivate({ id }),
  ({ id, name }) => styled`${name} is deactivated. To have it back: columba devices reactivate ${id}`
).pipe(Command.withAlias("remove"))

const reactivate = change(
  "reactivate",
  "Lets a deactivated device connect again",
  "It connects by itself",
  (client, id) => client.devices.reactivate({ id }),
  ({ id, name }) => styled`${name} is active again. See how it does: columba devices explain ${id}`
)

const disconnect = change(
  "disconnect",
  "Logs a device's account out, at the gateway and at WhatsApp",
  "The device stays, and can be logged in again",
  (client, id) => client.devices.disconnect({ id }),
  ({ id, name }) => styled`${name} is logged out. To log it in again: columba devices login ${id}`
)

const rename = Command.make(
  "rename",
  {
    ...remoteFlags,
    json,
    device: deviceArgument,
    name: Argument.String("name").pipe(Argument.withDescription("the new name"), Argument.withSchema(DeviceName))
  },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.devices.edit({ id: flags.device, name: flags.name }))).pipe(
      Effect.flatMap((device) =>
        flags.json ? printJson(device) : print(styled`${device.id} is called ${device.name} now`)
      )
    )
).pipe(
  Command.withDescription("Changes the display name"),
  Command.withExamples([
    { command: "columba devices rename dev_01K5ZQ… 'Second floor'", description: "The connection is not affected" }
  ])
)

const pace = Command.make(
  "pace",
  {
    ...remoteFlags,
    json,
    device: deviceArgument,
    pacing: Argument.String("pacing").pipe(
      Argument.withDescription("the pacing: off, default, or for example '20/min, 500/day'")
    )
  },
  (flags) =>
    withClient(flags, (client) =>
      answeredInTime(
        client.devices.edit({ id: flags.device, pacing: flags.pacing === "default" ? null : flags.pacing })
      )).pipe(
        Effect.flatMap((device) =>
          flags.json ? printJson(device) : print(
            styled`${device.name} sends ${
              device.pacing === null
                ? "as the server's default says"
                : isOff(device.pacing)
                ? "as fast as it can"
                : `at most ${formatPacing(device.pacing)}`
            } now`
          )
        )
      )
).pipe(
  Command.withDescription("Sets how fast a device may send; waiting messages follow it at once"),
  Command.withExamples([
    {
      command: "columba devices pace dev_01K5ZQ… '20/min, jitter 2s, 500/day, quiet 21:00-07:00 Asia/Jakarta'",
      description: "Like a person"
    },
    { command: "columba devices pace dev_01K5ZQ… default", description: "The default of COLUMBA_PACING" }
  ])
)

const status = Command.make(
  "status",
  { ...remoteFlags, json, device: deviceArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.devices.status({ id: flags.device }))).pipe(
      Effect.flatMap(({ device, upstream }) =>
        flags.json ? printJson({ device, upstream }) : print(
          ...deviceTable([device], Date.now()),
          styled`its gateway says: ${upstream.isConnected ? "connected" : "not connected"}, ${
            upstream.isLoggedIn ? `logged in as ${upstream.jid ?? "an account that it does not name"}` : "not logged in"
          }`
        )
      )
    )
).pipe(
  Command.withDescription("Asks the gateway for the status of a device, and records the answer"),
  Command.withExamples([{ command: "columba devices status dev_01K5ZQ…", description: "The current status" }])
)

const autoReply = Command.make("auto-reply", {
  ...remoteFlags,
  json,
  device: deviceArgument,
  on: Flag.Boolean("on").pipe(Flag.withDescription("answer messages"), Flag.withDefault(false)),
  off: Flag.Boolean("off").pipe(Flag.withDescription("do not answer messages"), Flag.withDefault(false)),
  prompt: Flag.String("prompt").pipe(
    Flag.withDescription("the prompt for the model"),
    Flag.withSchema(autoReplyFields.prompt),
    Flag.optional
  ),
  window: Flag.Int("window").pipe(
    Flag.withDescription("how many earlier messages of the chat the model gets"),
    Flag.withSchema(autoReplyFields.window),
    Flag.optional
  ),
  daily: Flag.Int("daily-limit").pipe(
    Flag.withDescription("maximum answers to one chat within 24 hours"),
    Flag.withSchema(autoReplyFields.dailyLimit),
    Flag.optional
  )
}, (flags) =>
  Effect.gen(function*() {
    if (flags.on && flags.off) return yield* CommandFailed.of("--on or --off, not both", null, exitCode.misused)
    const change = {
      ...(flags.on || flags.off ? { enabled: flags.on } : {}),
      ...given("prompt", flags.prompt),
      ...given("window", flags.window),
      ...given("dailyLimit", flags.daily)
    }
    const { dailyLimit, enabled, prompt, window } = yield* withClient(flags, ({ devices }) =>
      answeredInTime(
        Object.keys(change).length === 0
          ? devices.autoReply({ id: flags.device })
          : devices.editAutoReply({ id: flags.device, ...change })
      ))
    if (flags.json) return yield* printJson({ deviceId: flags.device, enabled, prompt, window, dailyLimit })
    yield* print(
      enabled
        ? styled`${flags.device} answers: shown ${window} messages, at most ${dailyLimit} answers a day to a chat`
        : styled`${flags.device} does not answer`,
      ...(prompt === "" ? [] : [styled`  told: ${plain(prompt)}`])
    )
  })).pipe(
    Command.withDescription("Shows or changes automatic answers by a language model"),
    Command.withExamples([
      {
        command: "columba devices auto-reply dev_01K5ZQ… --on --prompt 'You are the front desk of a bicycle shop.'",
        description: "Needs OPENAI_API_KEY at the server"
      }
    ])
  )

export const deviceCommands = [
  autoReply,
  reconnect,
  release,
  deactivate,
  reactivate,
  disconnect,
  rename,
  pace,
  status
] as const
