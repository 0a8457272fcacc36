/** `columba messages …`: sends messages, shows what became of them and takes them back, over the typed client. */
import { Effect, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import { PageLimit, pageLimitDefault, pageLimitMax } from "../contracts/Payloads.ts"
import { DeviceId, MessageId } from "../domain/Ids.ts"
import { Message, MessageStatus } from "../domain/Message.ts"
import type { SendWait } from "../domain/Send.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, deviceArgument, remoteFlags, withClient } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { cyan, dim, fit, green, padEnd, plain, red, styled, yellow } from "./styledText.ts"
import type { Paint, Part } from "./styledText.ts"

const json = Flag.Boolean("json").pipe(Flag.withDescription("print JSON, one object per line"), Flag.withDefault(false))

/** The form in which the API gives it. */
const printMessage = (message: Message) => printJson(Schema.encodeSync(Message)(message))

const say = (flags: { readonly json: boolean }, message: Message) =>
  flags.json ? printMessage(message) : print(`${message.id} is ${message.status}`)

const send = Command.make("send", {
  ...remoteFlags,
  json,
  device: deviceArgument,
  to: Argument.String("to").pipe(Argument.withDescription("a phone number with its country code, or a chat's address")),
  text: Argument.String("text").pipe(Argument.withDescription("what it says")),
  at: Flag.String("at").pipe(
    Flag.withDescription("when it is sent, as 2026-12-24T18:00:00Z (default: as soon as possible)"),
    Flag.withMetavar("time"),
    Flag.optional
  ),
  replyTo: Flag.String("reply-to").pipe(
    Flag.withDescription("the message that it replies to, msg_…"),
    Flag.withSchema(MessageId),
    Flag.optional
  ),
  key: Flag.String("idempotency-key").pipe(
    Flag.withDescription("makes repeats of the command one message, for 24 hours"),
    Flag.withMetavar("key"),
    Flag.optional
  )
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(client.messages.send({
      id: flags.device,
      to: flags.to,
      text: flags.text,
      ...given("scheduledAt", flags.at),
      ...given("replyTo", flags.replyTo),
      ...given("idempotencyKey", flags.key)
    }))).pipe(Effect.flatMap((message) => say(flags, message)))).pipe(
    Command.withDescription("Sends a text: returns once it is stored, and the device sends it as soon as it can"),
    Command.withExamples([
      { command: "columba messages send dev_01K5ZQ… 6281298765432 \"Yes, until six.\"", description: "Now" },
      {
        command: "columba messages send dev_01K5ZQ… 6281298765432 \"We open again\" --at 2026-12-27T02:00:00Z",
        description: "Later"
      }
    ])
  )

const list = Command.make("list", {
  ...remoteFlags,
  json,
  device: Flag.String("device").pipe(
    Flag.withDescription("only messages of this device"),
    Flag.withSchema(DeviceId),
    Flag.optional
  ),
  chat: Flag.String("chat").pipe(Flag.withDescription("only messages of this chat, by its address"), Flag.optional),
  status: Flag.Literals("status", MessageStatus.literals).pipe(
    Flag.withDescription("only messages with this status"),
    Flag.optional
  ),
  limit: Flag.Int("limit").pipe(
    Flag.withDescription(`at most so many, 1 to ${pageLimitMax} (default ${pageLimitDefault})`),
    Flag.withSchema(PageLimit),
    Flag.withDefault(pageLimitDefault)
  )
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(client.messages.list({
      ...given("device", flags.device),
      ...given("chat", flags.chat),
      ...given("status", flags.status),
      limit: flags.limit
    }))).pipe(
      Effect.flatMap(({ items, next }) => {
        if (flags.json) return Effect.forEach(items, printMessage, { discard: true })
        return items.length === 0
          ? print("no messages")
          : print(...messageTable(items), ...(next === null ? [] : moreMessages))
      })
    )).pipe(
    Command.withAlias("ls"),
    Command.withDescription("Shows messages in and out, newest first, with their status"),
    Command.withExamples([
      { command: "columba messages list --device dev_01K5ZQ…", description: "Of one device" },
      {
        command: "columba messages list --status unknown",
        description: "Of which it is not known yet whether they were sent"
      }
    ])
  )

const cancel = Command.make("cancel", {
  ...remoteFlags,
  json,
  message: Argument.String("message").pipe(
    Argument.withDescription("the message's id, msg_…"),
    Argument.withSchema(MessageId)
  )
}, (flags) =>
  withClient(flags, (client) => answeredInTime(client.messages.cancel({ id: flags.message }))).pipe(
    Effect.flatMap((message) => say(flags, message))
  )).pipe(
    Command.withDescription("Takes back a message that is scheduled or still waits"),
    Command.withExamples([{ command: "columba messages cancel msg_01K5ZQ…", description: "Before it is sent" }])
  )

export const messages = Command.make("messages").pipe(
  Command.withDescription("Send messages, and look at them"),
  Command.withSubcommands([send, list, cancel])
)

const moreMessages = ["there are more; raise --limit, or read them page by page over the API"]

const paints: Readonly<Partial<Record<MessageStatus, Paint>>> = {
  scheduled: cyan,
  pending: cyan,
  sent: green,
  delivered: green,
  read: green,
  played: green,
  failed: red,
  unknown: yellow,
  expired: red
}

const statusWidth = Math.max(...MessageStatus.literals.map((status) => status.length))

/** What a line shows of a text. */
const textWidth = 40

const describeWait = (wait: SendWait | undefined): string | null =>
  wait === undefined ? null : `waits: ${wait.reason}${wait.until === null ? "" : ` until ${wait.until}`}`

/** Columns as wide as their widest cell. */
export const messageTable = (messages: ReadonlyArray<Message>): ReadonlyArray<Part> => {
  const width = (title: string, cells: ReadonlyArray<string>) =>
    Math.max(title.length, ...cells.map((cell) => cell.length))
  const id = width("message", messages.map((message) => message.id))
  const chat = width("chat", messages.map((message) => message.chat))
  const at = width("at", messages.map(({ createdAt }) => createdAt))
  const header = `${"message".padEnd(id)}  ${"at".padEnd(at)}  dir  ${"chat".padEnd(chat)}  ` +
    `${"status".padEnd(statusWidth)}  text`
  return [
    dim(header),
    ...messages.map((message) => {
      const { body, sending, status, type } = message
      const paint = paints[status] ?? plain
      const why = describeWait(sending?.waitsFor) ?? sending?.reason ?? null
      const text = fit(body ?? `(${type})`, textWidth)
      return styled`${message.id.padEnd(id)}  ${message.createdAt.padEnd(at)}  ${message.direction.padEnd(3)}  ${
        message.chat.padEnd(chat)
      }  ${padEnd(paint(status), statusWidth)}  ${text}${why === null ? plain("") : dim(`  ${why}`)}`
    })
  ]
}
