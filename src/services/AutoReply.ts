/**
 * The handler that answers messages with a language model, for devices where it is switched on. The answer is an
 * ordinary message to send, stored in the transaction that records the message as handled, under a key made of the
 * event's id: however often the event comes, there is one answer.
 *
 * The model gets the device's prompt and messages of this one chat, and can only write. Whatever a message persuades
 * it to do, it has nothing of other chats to disclose.
 */
import { Clock, Effect, Metric } from "effect"
import type { AutoReply } from "../domain/AutoReply.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Message, MessageStatus } from "../domain/Message.ts"
import { AutoReplyRepository, replyKeyPrefix } from "./AutoReplyRepository.ts"
import { findLimit, findObstacle } from "./autoReplyRules.ts"
import { cutText } from "./cutText.ts"
import { HandlerFailed } from "./MessageHandler.ts"
import type { HandlerFailure, MessageHandler, MessageReceived } from "./MessageHandler.ts"
import { MessageRepository } from "./MessageRepository.ts"
import { MessageSender } from "./MessageSender.ts"
import type { SendFailure } from "./MessageSender.ts"
import * as Metrics from "./Metrics.ts"
import { ReplyModel } from "./ReplyModel.ts"
import type { ReplyFailed, Turn } from "./ReplyModel.ts"

/** The inbox records handled messages under this name. */
export const handlerName = "auto-reply"

/**
 * Maximum length of each message, and of all of them: a model reads no more for a chat, and its provider charges for
 * every word.
 */
const turnLengthMax = 2_000
const conversationLengthMax = 16_000

/** Outgoing messages with these statuses were not delivered, so they are no part of the conversation. */
const unsaid: ReadonlySet<MessageStatus> = new Set(["failed", "cancelled", "expired", "scheduled"])

type Outcome =
  | NonNullable<ReturnType<typeof findObstacle> | ReturnType<typeof findLimit>>
  | "answered"
  | "unsendable"

export const make: Effect.Effect<
  MessageHandler,
  never,
  AutoReplyRepository | MessageRepository | MessageSender | ReplyModel
> = Effect.gen(function*() {
  const settings = yield* AutoReplyRepository
  const messages = yield* MessageRepository
  const sender = yield* MessageSender
  const model = yield* ReplyModel

  const count = (outcome: Outcome) => Metric.update(Metric.withAttributes(Metrics.autoReplies, { outcome }), 1)

  /** The messages of this chat before the message, the oldest first, and then the message. */
  const readTurns = Effect.fnUntraced(function*({ data, deviceId, recordedAt }: MessageReceived, window: number) {
    const { items } = window === 0
      ? { items: [] }
      : yield* messages.list({ device: deviceId, chat: data.chat, visible: [deviceId], limit: window + 1 }).pipe(
        // No cursor is passed, so none can be invalid.
        Effect.catchTag("CursorInvalid", Effect.die)
      )
    const before = items.filter((message) =>
      message.deviceId === deviceId && message.chat === data.chat && message.id !== data.messageId &&
      message.createdAt <= recordedAt && !unsaid.has(message.status)
    )
    return makeTurns(before.slice(0, window), data.body ?? "")
  })

  const send = Effect.fnUntraced(
    function*({ data, deviceId, id }: MessageReceived, text: string, { dailyLimit }: AutoReply) {
      yield* settings.lock(deviceId, data.chat)
      const limit = findLimit(yield* settings.answers(deviceId, data.chat), dailyLimit)
      if (limit !== null) return yield* count(limit)
      const sent = yield* sender.send({
        device: deviceId,
        to: data.chat,
        text,
        idempotencyKey: `${replyKeyPrefix}${id}`
      }).pipe(
        Effect.as<Outcome>("answered"),
        // A repeat for which the model has generated another text: the first answer stands.
        Effect.catchTag("IdempotencyKeyReused", () => Effect.succeed<Outcome>("answered")),
        Effect.catchIf(isUnsendable, ({ _tag }) =>
          Effect.as(
            Effect.logWarning("An answer could not be sent", { device: deviceId, event: id, reason: _tag }),
            "unsendable" as const
          ))
      )
      yield* count(sent)
    }
  )

  const handle = Effect.fnUntraced(function*(event: MessageReceived): Effect.fn.Return<
    Effect.Effect<void, HandlerFailure>,
    HandlerFailure
  > {
    const { data, deviceId } = event
    const device = yield* settings.get(deviceId).pipe(Effect.catchTag("DeviceNotFound", () => Effect.succeed(null)))
    if (device === null || !device.enabled) return Effect.void
    const obstacle = findObstacle(event, yield* Clock.currentTimeMillis) ??
      findLimit(yield* settings.answers(deviceId, data.chat), device.dailyLimit)
    if (obstacle !== null) return count(obstacle)
    const turns = yield* readTurns(event, device.window)
    const text = yield* Effect.mapError(model.reply({ prompt: device.prompt, turns }), toFailure)
    return send(event, text, device)
  })

  return { name: handlerName, handle }
})

type Unsendable = Exclude<SendFailure, { readonly _tag: "StorageUnavailable" | "IdempotencyKeyReused" }>

/** Failures that would be the same at the next attempt. */
const isUnsendable = (error: Unsendable | StorageUnavailable): error is Unsendable =>
  error._tag !== "StorageUnavailable"

const toFailure = ({ message, reason, retryAfter }: ReplyFailed): HandlerFailed =>
  HandlerFailed.of(message, { permanent: reason === "refused", retryAfter })

/** `before` is newest first. The newest messages that fit are kept. */
export const makeTurns = (before: ReadonlyArray<Message>, body: string): ReadonlyArray<Turn> => {
  const turns: Array<Turn> = [{ role: "user", text: cutText(body, turnLengthMax) }]
  let length = turns[0]!.text.length
  for (const { body: said, direction } of before) {
    if (said === null || said === "") continue
    const text = cutText(said, turnLengthMax)
    length += text.length
    if (length > conversationLengthMax) break
    turns.unshift({ role: direction === "out" ? "assistant" : "user", text })
  }
  return turns
}
