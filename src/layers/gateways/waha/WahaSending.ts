/**
 * Sending through WAHA. Success is a message object whose form differs between engines; a success without an id leaves
 * the message in doubt, and its echo or the history reveals it.
 */
import { Effect } from "effect"
import type { MediaKind } from "../../../domain/OutgoingFile.ts"
import { everyone, isAction, isMedia } from "../../../domain/Send.ts"
import type { ActionContent, MessageContent, RepliedTo } from "../../../domain/Send.ts"
import type {
  OutgoingMessage,
  Send,
  SendOutcomeUnknown,
  SendRefused,
  SessionTarget
} from "../../../services/GatewayParts.ts"
import { jsonBody } from "../fileBodies.ts"
import type { RestClient } from "../RestClient.ts"
import { inDoubt, refusedForGood, refusedForNow } from "../sendAnswers.ts"
import type { SendRest } from "../SendRest.ts"
import { asPayload, readMessageRef, textIn } from "./payloads.ts"
import { isSuccess, isUnknownSession, readReply } from "./WahaRest.ts"
import type { Reply, WahaRest } from "./WahaRest.ts"

/** The server answers after WhatsApp has. */
const signalMillis = 10_000

export const make = (waha: WahaRest, rest: RestClient, sending: SendRest): Send => {
  /** The server's own event reports the action, with ids that its answer does not have. */
  const act = Effect.fnUntraced(function*({ upstreamId: session }: SessionTarget, to: string, content: ActionContent) {
    const messageId = formatRef(content.target, to)
    const message = rest.at("api", session, "chats", toAddress(to), "messages", messageId)
    const answer = yield* sending.submit(
      content.type === "reaction"
        ? { method: "PUT", url: rest.at("api", "reaction"), body: { session, messageId, reaction: content.emoji } }
        : content.type === "edit"
        ? { method: "PUT", url: message, body: { text: content.text } }
        : { method: "DELETE", url: message, body: undefined }
    )
    const reply = readReply(answer)
    const done = reply.status >= 200 && reply.status < 300 && (answer.text === "" || reply.own !== null)
    return done ? { waId: null } : yield* judge(reply)
  })

  const signal = Effect.fn("WahaSending.signal")(function*(operation: string, path: string, body: unknown) {
    const question = { operation, method: "POST", url: rest.at("api", path), body, millis: signalMillis } as const
    const reply = yield* waha.ask(question)
    if (reply.status < 200 || reply.status >= 300) return yield* waha.refused(operation, reply)
  })

  return {
    contents: new Set(
      [
        "text",
        "location",
        "contact",
        "poll",
        "image",
        "document",
        "voice",
        "video",
        "reaction",
        "edit",
        "revoke"
      ] as const
    ),
    message: Effect.fn("WahaSending.message")(function*(target, message) {
      const { content, file, to } = message
      if (isAction(content)) return yield* act(target, to, content)
      const { body, path } = compose({ ...message, content })
      // Without a session the server takes the one named `default`.
      const whole = { session: target.upstreamId, chatId: toAddress(to), ...body }
      const reply = readReply(
        yield* sending.submit({
          method: "POST",
          url: rest.at("api", path),
          body: whole,
          ...(file === null ? undefined : {
            file: jsonBody(
              (data) => ({ ...whole, file: { mimetype: file.mimeType, filename: file.fileName, data } }),
              file
            )
          })
        })
      )
      if (!isSuccess(reply)) return yield* judge(reply)
      const waId = readSentId(reply.own)
      return waId === null
        ? yield* inDoubt("the gateway answered with success and without the message's id")
        : { waId }
    }),
    read: ({ upstreamId: session }, chat, message) =>
      signal("mark a message as read", "sendSeen", {
        session,
        chatId: toAddress(chat),
        messageIds: [formatRef(message, chat)]
      }),
    typing: ({ upstreamId: session }, chat, active) =>
      signal("show a typing indicator", active ? "startTyping" : "stopTyping", {
        session,
        chatId: toAddress(chat)
      })
  }
}

/** `628…@s.whatsapp.net` is `628…@c.us` here. */
const toAddress = (jid: string): string => jid.replace(/@s\.whatsapp\.net$/, "@c.us")

/** Sounds that are not voice notes and stickers have no path of their own, and are not supported contents. */
const mediaPaths: Readonly<Record<MediaKind, string>> = {
  image: "sendImage",
  document: "sendFile",
  audio: "sendFile",
  voice: "sendVoice",
  video: "sendVideo",
  sticker: "sendFile"
}

/** The server's form of a message id: `{true|false}_{chat}_{raw}[_{participant}]`. */
const formatRef = ({ fromMe, sender, waId }: RepliedTo, chat: string): string =>
  [
    String(fromMe),
    toAddress(chat),
    waId,
    ...(chat.endsWith("@g.us") && sender !== "" ? [toAddress(sender)] : [])
  ].join("_")

/** The request of a message; actions on one have their own paths. */
const compose = (
  { content, file, mentions, replyTo, to }: OutgoingMessage & { readonly content: MessageContent }
): { readonly path: string; readonly body: Readonly<Record<string, unknown>> } => {
  const reply = replyTo === null ? undefined : { reply_to: formatRef(replyTo, to) }
  if (isMedia(content)) {
    return {
      path: mediaPaths[content.type],
      body: {
        ...(content.caption === null ? undefined : { caption: content.caption }),
        // WhatsApp plays only its own formats, and the server converts others.
        ...(content.type === "voice" ? { convert: file?.mimeType !== "audio/ogg" } : undefined),
        ...(content.type === "video" ? { convert: file?.mimeType !== "video/mp4", asNote: false } : undefined),
        ...reply
      }
    }
  }
  switch (content.type) {
    case "text":
      return {
        path: "sendText",
        body: {
          text: content.text,
          ...reply,
          ...(mentions.length === 0
            ? undefined
            : { mentions: mentions.includes(everyone) ? ["all"] : mentions.map(toAddress) })
        }
      }
    case "location": {
      const { latitude, longitude, name } = content.location
      return { path: "sendLocation", body: { latitude, longitude, title: name ?? "", ...reply } }
    }
    case "contact": {
      const digits = content.contact.phone.replace(/^\+/, "")
      const contact = { fullName: content.contact.name, phoneNumber: `+${digits}`, whatsappId: digits, vcard: null }
      return { path: "sendContactVcard", body: { contacts: [contact], ...reply } }
    }
    case "poll": {
      const { choices = 1, options, question } = content.poll
      return { path: "sendPoll", body: { poll: { name: question, options, multipleAnswers: choices > 1 }, ...reply } }
    }
  }
}

/** The id of the message object, wherever the engine puts it. */
const readSentId = (own: unknown): string | null => {
  const message = asPayload(own)
  if (message === null) return null
  const key = asPayload(message.key)
  return (readMessageRef(message.id) ?? (key === null ? null : readMessageRef(textIn(key, "id"))))?.waId ?? null
}

const judge = (reply: Reply): Effect.Effect<never, SendRefused | SendOutcomeUnknown> => {
  const { own, status } = reply
  switch (status) {
    case 400:
      return own === null
        ? inDoubt(`the gateway answered ${reply.status}`)
        : refusedForGood("invalid", "the gateway found the message invalid (400)")
    case 401:
    case 403:
      return refusedForNow("gateway-unavailable", `the gateway refused our API key (${status})`)
    case 404:
      return isUnknownSession(reply)
        ? refusedForNow("not-connected", "the gateway does not have the session, or it is not running (404)")
        : refusedForGood("unsupported", "the gateway has no such path (404)")
    case 413:
      return refusedForGood("invalid", "the message is too large for the gateway (413)")
    case 422:
      return own === null
        ? inDoubt(`the gateway answered ${reply.status}`)
        : refusedForNow("not-connected", "the gateway's session is not working (422)")
    case 429:
      return refusedForNow("gateway-unavailable", "the gateway answered 429")
    case 501:
      return refusedForGood("unsupported", "the gateway's engine cannot do this (501)")
    default:
      return inDoubt(`the gateway answered ${reply.status}`)
  }
}
