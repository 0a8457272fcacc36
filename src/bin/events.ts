/** `columba events tail`: the log as it grows, over the typed client, which reconnects and resumes by itself. */
import { Console, Effect, identity, Option, Result, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { EventKindFilter } from "../contracts/Payloads.ts"
import { Event } from "../domain/Event.ts"
import { DeviceId } from "../domain/Ids.ts"
import { remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { style } from "./style.ts"
import type { Style } from "./style.ts"

const tail = Command.make("tail", {
  ...remoteFlags,
  json: Flag.Boolean("json").pipe(Flag.withDescription("print JSON, one event a line"), Flag.withDefault(false)),
  after: Flag.Int("after").pipe(
    Flag.withDescription("begin after this number of the log; 0 is the beginning; left out: only what comes now"),
    Flag.optional
  ),
  device: Flag.String("device").pipe(
    Flag.withDescription("only this device's events"),
    Flag.withSchema(DeviceId),
    Flag.optional
  ),
  kind: Flag.String("kind").pipe(
    Flag.withDescription("only this kind, such as message.received; may be repeated"),
    Flag.withSchema(EventKindFilter),
    Flag.atLeast(0)
  ),
  limit: Flag.Int("limit").pipe(Flag.withDescription("stop after so many events"), Flag.optional)
}, (flags) =>
  withClient(flags, (client) => {
    const options = {
      ...given("after", flags.after),
      ...given("device", flags.device),
      ...(flags.kind.length === 0 ? {} : { kinds: flags.kind })
    }
    // Asked first, because the stream itself would wait for ever for a server that is not there.
    return Effect.andThen(
      client.server.info(),
      client.events.follow(options).pipe(
        Stream.filterMap((item) => item._tag === "Event" ? Result.succeed(item.event) : Result.fail(undefined)),
        Option.isSome(flags.limit) ? Stream.take(flags.limit.value) : identity,
        Stream.runForEach((event) =>
          Console.log(flags.json ? JSON.stringify(encodeEvent(event)) : eventLine(event, style(process.stdout)))
        )
      )
    )
  })).pipe(
    Command.withDescription("Prints events as they are committed. Message texts show only with --json"),
    Command.withExamples([
      { command: "columba events tail", description: "Everything from now on" },
      { command: "columba events tail --after 0 --kind message.received", description: "Every message ever received" },
      { command: "columba events tail --json | jq .data.chat", description: "For scripts" }
    ])
  )

export const events = Command.make("events").pipe(
  Command.withDescription("Read the log"),
  Command.withSubcommands([tail])
)

const encodeEvent = Schema.encodeSync(Event)

const summary = (event: Event): string => {
  switch (event.kind) {
    case "message.received":
    case "message.sent":
      return `${event.data.type} ${event.data.fromMe ? "to" : "from"} ${event.data.chat}`
    case "message.ack":
      return `${event.data.status} ${event.data.waId}`
    case "device.state":
      return `${event.data.from} -> ${event.data.state._tag} (${event.data.rule})`
    case "frame.rejected":
      return `${event.data.reason}: ${event.data.detail}`
    default:
      return ""
  }
}

/** One line a person can follow. No message text: terminals are logged and looked over. */
export const eventLine = (event: Event, colours: Style): string =>
  `${colours.dim(String(event.seq).padStart(8))} ${colours.dim(event.recordedAt)} ` +
  `${colours.cyan(event.kind.padEnd(18))} ${event.deviceId} ${summary(event)}`.trimEnd()
