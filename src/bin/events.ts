/** `columba events tail`: the log as it grows, over the typed client, which reconnects and resumes automatically. */
import { Effect, identity, Option, Result, Schema, Stream } from "effect"
import { Command, Flag } from "effect/cli"
import { EventKindFilter } from "../contracts/EventPayloads.ts"
import { ReadableEvent, unreadableKind } from "../domain/Event.ts"
import { DeviceId, Position } from "../domain/Ids.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { cyan, dim, padEnd, styled, wrap } from "./styledText.ts"
import type { Part } from "./styledText.ts"

/** The server checks positions; this only catches texts that are certainly none. */
const PositionFlag = Position.check(
  Schema.isPattern(/^\w/, { message: "Expected a position that an answer named, or 0 for the beginning" })
)

const EventCount = Schema.Int.check(Schema.isGreaterThanOrEqualTo(1, { message: "Expected 1 or more" }))

const tail = Command.make("tail", {
  ...remoteFlags,
  json: Flag.Boolean("json").pipe(Flag.withDescription("print JSON, one event per line"), Flag.withDefault(false)),
  after: Flag.String("after").pipe(
    Flag.withDescription(
      "begin after this position of the log; 0 is the beginning (default: only what comes from now on)"
    ),
    Flag.withSchema(PositionFlag),
    Flag.optional
  ),
  device: Flag.String("device").pipe(
    Flag.withDescription("only events of this device"),
    Flag.withSchema(DeviceId),
    Flag.optional
  ),
  kind: Flag.String("kind").pipe(
    Flag.withDescription("only this kind, such as message.received; may be repeated"),
    Flag.withSchema(EventKindFilter),
    Flag.atLeast(0)
  ),
  limit: Flag.Int("limit").pipe(
    Flag.withDescription("stop after this many events"),
    Flag.withSchema(EventCount),
    Flag.optional
  )
}, (flags) =>
  withClient(flags, (client) => {
    const options = {
      ...given("after", flags.after),
      ...given("device", flags.device),
      ...(flags.kind.length === 0 ? {} : { kinds: flags.kind })
    }
    // Checked first: the stream itself waits for an unavailable server, and for events of an unknown device.
    const reachable = Option.match(flags.device, {
      onNone: () => Effect.asVoid(answeredInTime(client.server.info())),
      onSome: (device) => Effect.asVoid(answeredInTime(client.devices.get({ id: device })))
    })
    return Effect.andThen(
      reachable,
      client.events.follow(options).pipe(
        Stream.filterMap((item) => item._tag === "Event" ? Result.succeed(item.event) : Result.fail(undefined)),
        Option.isSome(flags.limit) ? Stream.take(flags.limit.value) : identity,
        Stream.runForEach((event) =>
          flags.json ? printJson(encodeEvent(event)) : print(...eventLines(event, process.stdout))
        )
      )
    )
  })).pipe(
    Command.withDescription("Prints events as they are committed. Message texts are shown only with --json"),
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

const encodeEvent = Schema.encodeSync(ReadableEvent)

/** In a group the chat is the group, and the sender is the author. */
const describePeer = (
  { chat, fromMe, sender }: { readonly chat: string; readonly fromMe: boolean; readonly sender: string }
) => fromMe ? `to ${chat}` : chat === sender ? `from ${chat}` : `from ${sender} in ${chat}`

const summarize = (event: ReadableEvent): string => {
  switch (event.kind) {
    case "message.received":
    case "message.sent":
      return `${event.data.type} ${describePeer(event.data)}`
    case "message.ack":
      return `${event.data.status} ${event.data.waId}`
    case "device.state":
      return [
        event.data.from,
        ...(event.data.steps ?? []).map(({ rule, state }) => `${state._tag} (${rule})`),
        `${event.data.state._tag} (${event.data.rule})`
      ].join(" -> ")
    case "gap.opened":
      return `${event.data.cause} since ${event.data.openedAt}`
    case "gap.closed":
      return `${event.data.cause} from ${event.data.openedAt} to ${event.data.endedAt}: ${event.data.status}, ` +
        `${event.data.proven.length === 0 ? "nothing" : event.data.proven.join(" and ")} proven, ` +
        `${event.data.recovered} recovered`
    case "frame.rejected":
      return `${event.data.reason}: ${event.data.detail}`
    case "audit.changed":
      return `${event.data.operation} ${event.data.subject ?? ""} by ${event.data.by}` +
        (event.data.outcome === "done" ? "" : ", outcome unknown")
    case unreadableKind:
      return `this version cannot read ${JSON.stringify(event.data.stored["kind"])}; --json shows all of it`
    default:
      return ""
  }
}

/** One line a person can follow. No message text: terminals are recorded, and others look over one's shoulder. */
export const eventLine = (event: ReadableEvent): Part => {
  const line = styled`${dim(String(event.seq).padStart(8))} ${dim(event.recordedAt)} ${
    padEnd(cyan(event.kind), 18)
  } ${event.deviceId}`
  const summary = summarize(event)
  return summary === "" ? line : styled`${line} ${summary}`
}

/** On a narrower terminal, most lines would break in the middle of an id. */
const wideFrom = 120

/** For a narrow terminal: kind and time, and below them device and detail. */
export const eventLines = (
  event: ReadableEvent,
  { columns, isTTY }: { readonly columns?: number | undefined; readonly isTTY?: boolean | undefined }
): ReadonlyArray<Part> => {
  if (isTTY !== true || columns === undefined || columns >= wideFrom) return [eventLine(event)]
  const head = styled`${dim(event.recordedAt.slice(5, 19).replace("T", " "))} ${cyan(event.kind)} ${
    dim(`#${event.seq}`)
  }`
  return [head, ...wrap(styled`  ${event.deviceId} ${summarize(event)}`, columns, 2)]
}
