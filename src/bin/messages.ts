/** `columba messages …`: sends messages, shows their status and cancels them, over the typed client. */
import { Effect, Option, Schema } from "effect"
import { Argument, Command, Flag } from "effect/cli"
import type { MessagePage } from "../contracts/MessagePayloads.ts"
import { DeviceId, MessageId } from "../domain/Ids.ts"
import { Message, MessageStatus } from "../domain/Message.ts"
import { MediaKind } from "../domain/OutgoingFile.ts"
import type { SendWait } from "../domain/Send.ts"
import { CommandFailed, exitCode } from "./failures.ts"
import { limitFlag, moreLines } from "./pages.ts"
import { print, printJson } from "./printer.ts"
import { answeredInTime, deviceArgument, json, remoteFlags, withClient } from "./remote.ts"
import type { Remote } from "./remote.ts"
import { given } from "./settingsFlags.ts"
import { makeSource, nameOf } from "./uploadFile.ts"
import { cyan, dim, fit, green, padEnd, plain, red, styled, yellow } from "./styledText.ts"
import type { Paint, Part } from "./styledText.ts"

/** The form of the API. */
const printMessage = (message: Message) => printJson(Schema.encodeSync(Message)(message))

const say = (flags: { readonly json: boolean }, message: Message) =>
  flags.json ? printMessage(message) : print(`${message.id} is ${message.status}`)

const fileFlag = (kind: MediaKind, what: string) =>
  Flag.String(kind).pipe(
    Flag.withDescription(`${what}: a file of this machine, or a URL`),
    Flag.withMetavar("file"),
    Flag.optional
  )

type FileFlags = { readonly [Kind in MediaKind]: Option.Option<string> }

interface SendFlags extends Remote, FileFlags {
  readonly device: DeviceId
  readonly text: Option.Option<string>
}

/** The text, or the one file with its caption. */
const readContent = Effect.fnUntraced(function*(flags: SendFlags) {
  const files = MediaKind.literals.flatMap((kind) =>
    Option.isSome(flags[kind]) ? [{ kind, path: flags[kind].value }] : []
  )
  const text = Option.getOrUndefined(flags.text)
  const [file] = files
  if (file === undefined) {
    return text === undefined
      ? yield* CommandFailed.of(
        "there is nothing to send",
        "give a text, or a file with --image, --document …",
        exitCode.misused
      )
      : { text }
  }
  const { kind, path } = file
  const takesText = kind === "image" || kind === "document" || kind === "video"
  if (files.length > 1 || (text !== undefined && !takesText)) {
    return yield* CommandFailed.of(
      files.length > 1 ? "a message has one file" : `a message with --${kind} has no text`,
      "send them one after another",
      exitCode.misused
    )
  }
  const source = yield* makeSource(flags, flags.device, path)
  const fileName = kind === "document" ? nameOf(path) : undefined
  return {
    [kind]: {
      ...source,
      ...(text === undefined ? {} : { caption: text }),
      ...(fileName === undefined ? {} : { fileName })
    }
  }
})

const messageArgument = Argument.String("message").pipe(
  Argument.withDescription("the message's id, msg_…"),
  Argument.withSchema(MessageId)
)

const keyFlag = Flag.String("idempotency-key").pipe(
  Flag.withDescription("makes repeats of the command one message, for 24 hours"),
  Flag.withMetavar("key"),
  Flag.optional
)

const send = Command.make("send", {
  ...remoteFlags,
  json,
  device: deviceArgument,
  to: Argument.String("to").pipe(Argument.withDescription("a phone number with its country code, or a chat's address")),
  text: Argument.String("text").pipe(
    Argument.withDescription("the text; with an image, a document or a video its caption"),
    Argument.optional
  ),
  image: fileFlag("image", "a JPEG or PNG picture"),
  document: fileFlag("document", "any file"),
  audio: fileFlag("audio", "a sound file"),
  voice: fileFlag("voice", "a sound file, as a voice note"),
  video: fileFlag("video", "a film"),
  sticker: fileFlag("sticker", "a picture, as a sticker"),
  at: Flag.String("at").pipe(
    Flag.withDescription("the time to send it, such as 2026-12-24T18:00:00Z (default: as soon as possible)"),
    Flag.withMetavar("time"),
    Flag.optional
  ),
  replyTo: Flag.String("reply-to").pipe(
    Flag.withDescription("the message that it replies to, msg_…"),
    Flag.withSchema(MessageId),
    Flag.optional
  ),
  key: keyFlag
}, (flags) =>
  Effect.gen(function*() {
    const content = yield* readContent(flags)
    const message = yield* withClient(flags, (client) =>
      answeredInTime(client.messages.send({
        id: flags.device,
        to: flags.to,
        ...content,
        ...given("scheduledAt", flags.at),
        ...given("replyTo", flags.replyTo),
        ...given("idempotencyKey", flags.key)
      })))
    yield* say(flags, message)
  })).pipe(
    Command.withDescription(
      "Sends a text or a file: returns once it is stored, and the device sends it as soon as it can"
    ),
    Command.withExamples([
      { command: "columba messages send dev_01K5ZQ… 6281298765432 \"Yes, until six.\"", description: "Now" },
      {
        command: "columba messages send dev_01K5ZQ… 6281298765432 \"The list of May\" --document \"price list.pdf\"",
        description: "A file with a caption"
      },
      {
        command: "columba messages send dev_01K5ZQ… 6281298765432 \"We open again\" --at 2026-12-27T02:00:00Z",
        description: "Later"
      }
    ])
  )

const list = Command.make(
  "list",
  {
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
    waId: Flag.String("wa-id").pipe(Flag.withDescription("only messages with this WhatsApp id"), Flag.optional),
    limit: limitFlag()
  },
  (flags) =>
    withClient(flags, (client) =>
      readPages(flags.limit, (limit, cursor) =>
        answeredInTime(client.messages.list({
          ...given("device", flags.device),
          ...given("chat", flags.chat),
          ...given("status", flags.status),
          ...given("waId", flags.waId),
          ...given("cursor", cursor),
          limit
        })))).pipe(
        Effect.flatMap(({ items, next }) => {
          if (flags.json) return Effect.forEach(items, printMessage, { discard: true })
          if (items.length > 0) return print(...messageTable(items), ...(next === null ? [] : moreLines))
          return print(next === null ? "no messages" : "none among the newest; give the device and the chat")
        })
      )
).pipe(
  Command.withAlias("ls"),
  Command.withDescription("Shows messages in and out, newest first, with their status"),
  Command.withExamples([
    { command: "columba messages list --device dev_01K5ZQ…", description: "Of one device" },
    {
      command: "columba messages list --status unknown",
      description: "Of which it is not known yet whether they were sent"
    },
    { command: "columba messages list --device dev_01K5ZQ… --wa-id 3EB0C7", description: "As WhatsApp names it" }
  ])
)

const cancel = Command.make("cancel", {
  ...remoteFlags,
  json,
  message: messageArgument
}, (flags) =>
  withClient(flags, (client) => answeredInTime(client.messages.cancel({ id: flags.message }))).pipe(
    Effect.flatMap((message) => say(flags, message))
  )).pipe(
    Command.withDescription("Takes back a message that is scheduled or still waits"),
    Command.withExamples([{ command: "columba messages cancel msg_01K5ZQ…", description: "Before it is sent" }])
  )

const react = Command.make("react", {
  ...remoteFlags,
  json,
  message: messageArgument,
  emoji: Argument.String("emoji").pipe(
    Argument.withDescription("one emoji; without it the reaction is taken back"),
    Argument.withDefault("")
  ),
  key: keyFlag
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(
      client.messages.react({ id: flags.message, emoji: flags.emoji, ...given("idempotencyKey", flags.key) })
    )).pipe(Effect.flatMap((message) => say(flags, message)))).pipe(
    Command.withDescription("Reacts to a message, or takes the reaction back"),
    Command.withExamples([{ command: "columba messages react msg_01K5ZQ… 👍", description: "With a thumb" }])
  )

const edit = Command.make("edit", {
  ...remoteFlags,
  json,
  message: messageArgument,
  text: Argument.String("text").pipe(Argument.withDescription("what it says from now on")),
  key: keyFlag
}, (flags) =>
  withClient(flags, (client) =>
    answeredInTime(
      client.messages.edit({ id: flags.message, text: flags.text, ...given("idempotencyKey", flags.key) })
    )).pipe(Effect.flatMap((message) => say(flags, message)))).pipe(
    Command.withDescription("Gives a text that was sent another text; WhatsApp takes that for about 15 minutes"),
    Command.withExamples([{
      command: "columba messages edit msg_01K5ZQ… \"Yes, until seven.\"",
      description: "Puts it right"
    }])
  )

const revoke = Command.make(
  "revoke",
  {
    ...remoteFlags,
    json,
    message: messageArgument,
    key: keyFlag
  },
  (flags) =>
    withClient(
      flags,
      (client) => answeredInTime(client.messages.revoke({ id: flags.message, ...given("idempotencyKey", flags.key) }))
    ).pipe(
      Effect.flatMap((message) => say(flags, message))
    )
).pipe(
  Command.withDescription("Deletes a message that was sent, for everyone in the chat"),
  Command.withExamples([{ command: "columba messages revoke msg_01K5ZQ…", description: "For everyone" }])
)

const read = Command.make(
  "read",
  { ...remoteFlags, message: messageArgument },
  (flags) =>
    withClient(flags, (client) => answeredInTime(client.messages.markRead({ id: flags.message }))).pipe(
      Effect.andThen(print(`${flags.message} is marked as read`))
    )
).pipe(
  Command.withDescription("Shows the sender of a message that it was read"),
  Command.withExamples([{ command: "columba messages read msg_01K5ZQ…", description: "Two blue ticks" }])
)

const typing = Command.make(
  "typing",
  {
    ...remoteFlags,
    device: deviceArgument,
    chat: Argument.String("chat").pipe(Argument.withDescription("the chat's address, as events name it")),
    stop: Flag.Boolean("stop").pipe(Flag.withDescription("the account is not typing any more"), Flag.withDefault(false))
  },
  (flags) =>
    withClient(
      flags,
      (client) => answeredInTime(client.messages.typing({ id: flags.device, chat: flags.chat, active: !flags.stop }))
    ).pipe(
      Effect.andThen(
        print(
          flags.stop ? "the chat no longer sees that the account is typing" : "the chat sees that the account is typing"
        )
      )
    )
).pipe(
  Command.withDescription("Shows a chat that the account is typing, for some seconds"),
  Command.withExamples([{
    command: "columba messages typing dev_01K5ZQ… 6281298765432@s.whatsapp.net",
    description: "Before a reply"
  }])
)

export const messages = Command.make("messages").pipe(
  Command.withDescription("Send and list messages"),
  Command.withSubcommands([send, list, cancel, react, edit, revoke, read, typing])
)

/** A page of rare matches may be empty, after 50,000 searched events: this many pages are requested. */
const pagesMax = 20

const readPages = Effect.fnUntraced(function*<E, R>(
  limit: number,
  read: (limit: number, cursor: Option.Option<string>) => Effect.Effect<MessagePage, E, R>
) {
  let page = yield* read(limit, Option.none())
  for (let count = 1; count < pagesMax && page.next !== null && page.items.length < limit; count++) {
    const { items, next } = yield* read(limit - page.items.length, Option.some(page.next))
    page = { items: [...page.items, ...items], next }
  }
  return page
})

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

/** Maximum width of a text in a line. */
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
