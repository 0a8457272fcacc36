/**
 * Accepts messages for sending, and takes them back. Accepting is storing: whoever runs the device gives them to its
 * gateway. What can be told to be wrong is told before anything is stored.
 */
import { Clock, Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import { DeviceStateConflict } from "../domain/DeviceErrors.ts"
import type { DeviceNotFound, GatewayUnknown, StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { GatewayUnusable } from "../domain/GatewayErrors.ts"
import type { DeviceId, MessageId, Timestamp } from "../domain/Ids.ts"
import type { Message } from "../domain/Message.ts"
import type { MessageNotFound } from "../domain/MessageErrors.ts"
import { parseRecipient } from "../domain/Recipient.ts"
import { everyone } from "../domain/Send.ts"
import type {
  ContactContent,
  LocationContent,
  OnUnknown,
  OutgoingContent,
  PollContent,
  RepliedTo
} from "../domain/Send.ts"
import { ContentInvalid, ContentUnsupported, MessageNotCancellable, ScheduleInvalid } from "../domain/SendErrors.ts"
import type { IdempotencyKeyReused, RecipientInvalid } from "../domain/SendErrors.ts"
import { DeviceRepository } from "./DeviceRepository.ts"
import { digest, formatMessageId } from "./EventIdentity.ts"
import { EventLog } from "./EventLog.ts"
import { GatewayDirectory, useGateway } from "./GatewayDirectory.ts"
import { MessageRepository } from "./MessageRepository.ts"
import { recordOutcome } from "./sendDrafts.ts"
import { SendRepository } from "./SendRepository.ts"
import { SendSettings } from "./SendSettings.ts"
import { viewSend } from "./sendView.ts"

/** A year ahead, with a day for leap years. */
const scheduleDaysMax = 366

const dayMillis = 24 * 3_600_000

/** The event of a cancellation is committed within milliseconds; where it is not, a sweep writes it later. */
const tellMax = "2 seconds"

export interface SendMessage {
  readonly device: DeviceId
  readonly to: string
  readonly text?: string | undefined
  readonly location?: typeof LocationContent.Type | undefined
  readonly contact?: typeof ContactContent.Type | undefined
  readonly poll?: typeof PollContent.Type | undefined
  readonly replyTo?: MessageId | undefined
  readonly mentions?: ReadonlyArray<string> | undefined
  readonly scheduledAt?: Timestamp | undefined
  readonly onUnknown?: OnUnknown | undefined
  readonly idempotencyKey?: string | undefined
}

export type SendFailure =
  | RecipientInvalid
  | ContentInvalid
  | ScheduleInvalid
  | DeviceNotFound
  | MessageNotFound
  | DeviceStateConflict
  | ContentUnsupported
  | IdempotencyKeyReused
  | GatewayUnknown
  | GatewayUnusable
  | StorageUnavailable

export class MessageSender extends Context.Service<MessageSender, {
  /** Returns once it is stored. A repeat with the same key gets the same message, as it was answered first. */
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
      const devices = yield* DeviceRepository
      const directory = yield* GatewayDirectory
      const sends = yield* SendRepository
      const messages = yield* MessageRepository
      const log = yield* EventLog
      const { grace } = yield* SendSettings
      const random = yield* SecureRandom.SecureRandom

      const readReply = Effect.fnUntraced(function*(
        device: DeviceId,
        id: MessageId
      ): Effect.fn.Return<RepliedTo, MessageNotFound | ContentInvalid | StorageUnavailable> {
        const send = yield* sends.find(id, [device])
        if (send !== null) {
          return send.waId === null
            ? yield* ContentInvalid.of("replyTo: this message has not been sent yet")
            : { waId: send.waId, fromMe: true, sender: send.sender }
        }
        const { data: { fromMe, sender, waId } } = yield* messages.content(id, [device])
        return { waId, fromMe, sender }
      })

      const readSchedule = Effect.fnUntraced(function*(scheduledAt: Timestamp | undefined) {
        if (scheduledAt === undefined) return null
        const at = Date.parse(scheduledAt)
        const latest = (yield* Clock.currentTimeMillis) + scheduleDaysMax * dayMillis
        return Number.isNaN(at) || at < 0 || at > latest
          ? yield* ScheduleInvalid.of(scheduleDaysMax)
          : new Date(at).toISOString()
      })

      const send: MessageSender["Service"]["send"] = Effect.fn("MessageSender.send")(function*(request) {
        const chat = yield* Effect.fromResult(parseRecipient(request.to))
        const content = yield* readContent(request)
        const mentions = yield* readMentions(request, content, chat)
        const scheduledAt = yield* readSchedule(request.scheduledAt)
        const device = yield* devices.get(request.device)
        if (!device.active) return yield* DeviceStateConflict.of(device.id, "send a message from", "Inactive")
        yield* useGateway(directory, device.gateway, ({ name, send: part }) =>
          part?.contents.has(content.type) === true
            ? Effect.void
            : Effect.fail(ContentUnsupported.of(name, content.type, [...part?.contents ?? []])))
        const replyTo = request.replyTo === undefined ? null : yield* readReply(device.id, request.replyTo)
        const { idempotencyKey: key, onUnknown = "report" } = request
        const bytes = yield* random.randomBytes(16)
        const { send: accepted } = yield* sends.accept({
          id: formatMessageId(Buffer.from(bytes).toString("hex")),
          deviceId: device.id,
          chat,
          sender: device.jid ?? "",
          body: { content, replyTo, mentions },
          onUnknown,
          scheduledAt,
          grace,
          idempotency: key === undefined ? null : {
            key,
            digest: digest(JSON.stringify([chat, content, replyTo, mentions, scheduledAt, onUnknown]))
          }
        })
        return viewSend(accepted)
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
        yield* Effect.ignore(Effect.timeoutOption(log.append(drafts, { effects }), tellMax))
        return viewSend(send)
      })

      return MessageSender.of({ send, cancel })
    })
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))
}

const readContent = (
  { contact, location, poll, text }: SendMessage
): Effect.Effect<OutgoingContent, ContentInvalid> => {
  const given: Array<OutgoingContent> = []
  if (text !== undefined) given.push({ type: "text", text })
  if (location !== undefined) given.push({ type: "location", location })
  if (contact !== undefined) given.push({ type: "contact", contact })
  if (poll !== undefined) given.push({ type: "poll", poll })
  const [content] = given
  if (content === undefined || given.length > 1) {
    return Effect.fail(ContentInvalid.of("Expected exactly one of text, location, contact and poll"))
  }
  return poll !== undefined && (poll.choices ?? 1) > poll.options.length
    ? Effect.fail(ContentInvalid.of("poll.choices: there are not as many options"))
    : Effect.succeed(content)
}

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
