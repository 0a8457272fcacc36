/**
 * Accepts messages for sending, and cancels them. Accepting is storing: the process that runs the device sends them to
 * its gateway. Every fault that can be found without sending is reported before anything is stored.
 */
import { Clock, Context, Effect, Layer, Option } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { parseTimestamp } from "../domain/Ids.ts"
import type { DeviceId, MessageId, Timestamp } from "../domain/Ids.ts"
import type { Message } from "../domain/Message.ts"
import type { MessageNotFound } from "../domain/MessageErrors.ts"
import { parseRecipient } from "../domain/Recipient.ts"
import { MediaKind, refuseFile } from "../domain/OutgoingFile.ts"
import type { FileId } from "../domain/OutgoingFile.ts"
import { everyone, isMedia } from "../domain/Send.ts"
import type {
  CaptionedContent,
  ContactContent,
  DocumentContent,
  FileContent,
  LocationContent,
  OnUnknown,
  OutgoingContent,
  PollContent,
  RepliedTo
} from "../domain/Send.ts"
import {
  ContentInvalid,
  FileInvalid,
  FileNotFound,
  MessageNotCancellable,
  ScheduleInvalid,
  UploadMisdirected,
  UploadRefused
} from "../domain/SendErrors.ts"
import type { IdempotencyKeyReused, RecipientInvalid } from "../domain/SendErrors.ts"
import { makeAcceptance } from "./acceptSend.ts"
import type { PreparedSend, Unable } from "./acceptSend.ts"
import { EventLog } from "./EventLog.ts"
import { MessageRepository } from "./MessageRepository.ts"
import { OutboundHttp } from "./OutboundHttp.ts"
import { OutgoingFiles } from "./OutgoingFiles.ts"
import { recordOutcome } from "./sendDrafts.ts"
import { SendRepository } from "./SendRepository.ts"
import { viewSend } from "./sendView.ts"

/** A year ahead, with a day for leap years. */
const scheduleDaysMax = 366

const dayMillis = 24 * 3_600_000

/** The event of a cancellation is committed within milliseconds; otherwise a sweep writes it later. */
const commitMax = "2 seconds"

export interface SendMessage {
  readonly device: DeviceId
  readonly to: string
  readonly text?: string | undefined
  readonly location?: typeof LocationContent.Type | undefined
  readonly contact?: typeof ContactContent.Type | undefined
  readonly poll?: typeof PollContent.Type | undefined
  readonly image?: typeof CaptionedContent.Type | undefined
  readonly document?: typeof DocumentContent.Type | undefined
  readonly audio?: typeof FileContent.Type | undefined
  readonly voice?: typeof FileContent.Type | undefined
  readonly video?: typeof CaptionedContent.Type | undefined
  readonly sticker?: typeof FileContent.Type | undefined
  readonly replyTo?: MessageId | undefined
  readonly mentions?: ReadonlyArray<string> | undefined
  readonly scheduledAt?: Timestamp | undefined
  readonly onUnknown?: OnUnknown | undefined
  readonly idempotencyKey?: string | undefined
}

/** The faults of a request. */
export type RequestFailure =
  | Unable
  | RecipientInvalid
  | ContentInvalid
  | ScheduleInvalid
  | MessageNotFound

export type SendFailure =
  | RequestFailure
  | IdempotencyKeyReused
  | FileInvalid
  | FileNotFound
  | UploadMisdirected
  | UploadRefused

export class MessageSender extends Context.Service<MessageSender, {
  /** Checks everything about a request except its file; stores nothing. */
  readonly prepare: (request: SendMessage) => Effect.Effect<PreparedSend, RequestFailure>
  /** Returns once it is stored. A repeat with the same key gets the same message, with its first answer. */
  readonly send: (request: SendMessage) => Effect.Effect<Message, SendFailure>
  /** Only while it waits. */
  readonly cancel: (
    id: MessageId,
    visible: VisibleDevices
  ) => Effect.Effect<Message, MessageNotFound | MessageNotCancellable | StorageUnavailable>
}>()("columba/services/MessageSender") {
  static readonly layer = Layer.effect(
    MessageSender,
    Effect.gen(function*() {
      const sends = yield* SendRepository
      const messages = yield* MessageRepository
      const log = yield* EventLog
      const files = yield* checkFiles
      const { able, accept, find } = yield* makeAcceptance

      const readReply = (device: DeviceId, id: MessageId) =>
        Effect.map(
          find("replyTo", id, [device]),
          ({ target: { fromMe, sender, waId } }): RepliedTo => ({ waId, fromMe, sender })
        )

      const readSchedule = Effect.fnUntraced(function*(scheduledAt: Timestamp | undefined) {
        if (scheduledAt === undefined) return null
        const at = parseTimestamp(scheduledAt)
        const latest = (yield* Clock.currentTimeMillis) + scheduleDaysMax * dayMillis
        return at === null || at < 0 || at > latest
          ? yield* ScheduleInvalid.of(scheduleDaysMax)
          : new Date(at).toISOString()
      })

      const prepare: MessageSender["Service"]["prepare"] = Effect.fn("MessageSender.prepare")(function*(request) {
        const chat = yield* Effect.fromResult(parseRecipient(request.to))
        const content = yield* readContent(request)
        const mentions = yield* readMentions(request, content, chat)
        const scheduledAt = yield* readSchedule(request.scheduledAt)
        const device = yield* able(request.device, content.type, ({ contents }) => contents.has(content.type))
        const replyTo = request.replyTo === undefined ? null : yield* readReply(device.id, request.replyTo)
        return {
          deviceId: device.id,
          chat,
          sender: device.jid ?? "",
          body: { content, replyTo, mentions },
          onUnknown: request.onUnknown ?? "report",
          scheduledAt
        }
      })

      const send: MessageSender["Service"]["send"] = Effect.fn("MessageSender.send")(function*(request) {
        const prepared = yield* prepare(request)
        const { body: { content }, deviceId } = prepared
        // For a repeat, the file may be deleted already, because its message has ended, or its server may be
        // unavailable.
        return viewSend(yield* accept(prepared, request.idempotencyKey, files.check(deviceId, content)))
      })

      const cancel: MessageSender["Service"]["cancel"] = Effect.fn("MessageSender.cancel")(function*(id, visible) {
        const cancelled = yield* sends.cancel(id, visible)
        if (cancelled?.done !== true) {
          const { status } = yield* messages.get(id, visible)
          return yield* MessageNotCancellable.of(id, status, cancelled?.send.state === "sending")
        }
        const { send } = cancelled
        const outcome = { state: "cancelled", waId: null, reason: null, detail: null } as const
        const { drafts, effects } = recordOutcome(send, outcome, send.sender, yield* Clock.currentTimeMillis)
        yield* Effect.ignore(Effect.timeoutOption(log.append(drafts, { effects }), commitMax))
        return viewSend(send)
      })

      return MessageSender.of({ prepare, send, cancel })
    })
  )
}

const readContent = (request: SendMessage): Effect.Effect<OutgoingContent, ContentInvalid> => {
  const { contact, location, poll, text } = request
  const given: Array<OutgoingContent> = []
  if (text !== undefined) given.push({ type: "text", text })
  if (location !== undefined) given.push({ type: "location", location })
  if (contact !== undefined) given.push({ type: "contact", contact })
  if (poll !== undefined) given.push({ type: "poll", poll })
  for (const type of MediaKind.literals) {
    const media: typeof DocumentContent.Type | undefined = request[type]
    if (media === undefined) continue
    const { caption = null, file: id, fileName = null, url } = media
    if ((id === undefined) === (url === undefined)) {
      return Effect.fail(ContentInvalid.of(`${type}: expected either the id of a file that was uploaded or a url`))
    }
    given.push({ type, file: id === undefined ? { url: url! } : { id }, caption, fileName })
  }
  const [content] = given
  if (content === undefined || given.length > 1) {
    return Effect.fail(ContentInvalid.of(`Expected exactly one of ${contents.join(", ")}`))
  }
  return poll !== undefined && (poll.choices ?? 1) > poll.options.length
    ? Effect.fail(ContentInvalid.of("poll.choices: there are not as many options"))
    : Effect.succeed(content)
}

const contents = ["text", "location", "contact", "poll", ...MediaKind.literals]

/** The checks of a file before it is sent. */
const checkFiles = Effect.gen(function*() {
  const outbound = yield* OutboundHttp
  const files = Option.getOrNull(yield* Effect.serviceOption(OutgoingFiles))

  const checkUpload = Effect.fnUntraced(function*(device: DeviceId, id: FileId, kind: MediaKind) {
    if (files === null) return yield* UploadMisdirected.of()
    const facts = yield* Effect.catch(files.find(device, id), ({ message }) => UploadRefused.of("disk", message))
    if (facts === null) return yield* FileNotFound.of(id)
    const refusal = refuseFile(kind, facts)
    if (refusal !== null) return yield* FileInvalid.of(refusal.reason, `${kind}: ${refusal.detail}`)
  })

  return {
    check: (
      device: DeviceId,
      content: OutgoingContent
    ): Effect.Effect<void, UploadMisdirected | UploadRefused | FileNotFound | FileInvalid> => {
      if (!isMedia(content)) return Effect.void
      const { file, type } = content
      return "id" in file
        ? checkUpload(device, file.id, type)
        : Effect.catch(outbound.check(file.url), ({ message }) => Effect.fail(FileInvalid.of("url", message)))
    }
  }
})

const readMentions = (
  { mentions = [] }: SendMessage,
  content: OutgoingContent,
  chat: string
): Effect.Effect<ReadonlyArray<string>, ContentInvalid | RecipientInvalid> => {
  if (mentions.length === 0) return Effect.succeed([])
  if (content.type !== "text") return Effect.fail(ContentInvalid.of("mentions: only a text mentions somebody"))
  if (mentions.includes(everyone)) {
    return mentions.length > 1 || !chat.endsWith("@g.us")
      ? Effect.fail(ContentInvalid.of("mentions: everyone stands alone, and for a group"))
      : Effect.succeed([everyone])
  }
  return Effect.forEach(mentions, (mention) => Effect.fromResult(parseRecipient(mention)))
}
