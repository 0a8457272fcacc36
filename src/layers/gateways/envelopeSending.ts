/**
 * Sending through gateways that answer in the envelope `{code, message, results}`: GOWA, and `bridge` servers that have
 * GOWA's paths. The meaning of an answer is a table, and any answer outside the table leaves the message in doubt.
 */
import { Effect, Result, Schema } from "effect"
import { GatewayUnavailable } from "../../domain/DeviceErrors.ts"
import type { GatewayName, Timestamp } from "../../domain/Ids.ts"
import type { MediaKind } from "../../domain/OutgoingFile.ts"
import { everyone, isMedia } from "../../domain/Send.ts"
import type { MediaContent } from "../../domain/Send.ts"
import type {
  OutgoingFile,
  OutgoingMessage,
  Send,
  SendOutcomeUnknown,
  SendRefused,
  SessionTarget
} from "../../services/GatewayParts.ts"
import { type Envelope, isUnknownSlot, readEnvelope } from "./envelope.ts"
import { type FileBody, formBody } from "./fileBodies.ts"
import type { RestClient } from "./RestClient.ts"
import { readTimestamp } from "./timestamps.ts"
import { inDoubt, refusedForGood, refusedForNow } from "./sendAnswers.ts"
import type { SendRest } from "./SendRest.ts"
import { describeRefusal } from "./SlotRest.ts"
import type { Reply } from "./SlotRest.ts"

const decodeSent = Schema.decodeUnknownResult(
  Schema.Struct({
    message_id: Schema.String.check(Schema.isMinLength(1)),
    status: Schema.optionalKey(Schema.Unknown)
  })
)

/** WhatsApp's time at the end of GOWA's message, as Go writes times. */
const serverTime = /\(server timestamp: (\d{4}-\d\d-\d\d) (\d\d:\d\d:\d\d)(?:\.\d+)? ([+-]\d\d)(\d\d) [^)]*\)$/

const readServerTime = (status: unknown): Timestamp | null => {
  const [, date, time, hours, minutes] = serverTime.exec(typeof status === "string" ? status : "") ?? []
  return date === undefined ? null : readTimestamp(`${date}T${time}${hours}:${minutes}`)
}

/** GOWA answers these like sends, after WhatsApp has answered. */
const signalMillis = 10_000

export const make = (name: GatewayName, rest: RestClient, sending: SendRest): Send => {
  const scope = (target: SessionTarget) => ({ "x-device-id": encodeURIComponent(target.upstreamId) })

  const signal = Effect.fn("EnvelopeSending.signal")(function*(
    operation: string,
    target: SessionTarget,
    path: ReadonlyArray<string>,
    body: unknown
  ) {
    const request = { operation, method: "POST", url: rest.at(...path), headers: scope(target), body } as const
    const { status, text } = yield* rest.ask({ ...request, millis: signalMillis })
    const envelope = readEnvelope(text)
    if (status !== 200 || envelope === null) {
      return yield* GatewayUnavailable.of(name, operation, describeRefusal({ status, envelope }))
    }
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
        "audio",
        "voice",
        "video",
        "sticker",
        "reaction",
        "edit",
        "revoke"
      ] as const
    ),
    message: Effect.fn("EnvelopeSending.message")(function*(target, message) {
      const { body, file, path } = compose(message)
      const { status, text } = yield* sending.submit({
        method: "POST",
        url: rest.at(...path),
        headers: scope(target),
        body: { phone: message.to, ...body },
        ...(file === undefined ? undefined : { file })
      })
      const reply: Reply = { status, envelope: readEnvelope(text) }
      const sent = decodeSent(reply.envelope?.results)
      if (status === 200 && Result.isSuccess(sent)) {
        return { waId: sent.success.message_id, sentAt: readServerTime(sent.success.status) }
      }
      return yield* judge(reply)
    }),
    read: (target, chat, { waId }) =>
      signal("mark a message as read", target, ["message", waId, "read"], { phone: chat }),
    typing: (target, chat, active) =>
      signal("show a typing indicator", target, ["send", "chat-presence"], {
        phone: chat,
        action: active ? "start" : "stop"
      })
  }
}

interface Composed {
  readonly path: ReadonlyArray<string>
  readonly body?: Readonly<Record<string, unknown>>
  readonly file?: FileBody
}

/** The path, and the form field of the file. */
const mediaPaths: Readonly<Record<MediaKind, string>> = {
  image: "image",
  document: "file",
  audio: "audio",
  voice: "audio",
  video: "video",
  sticker: "sticker"
}

/** The fields as texts. Images are sent as they are: GOWA would scale them to 600 pixels. */
const composeMedia = (to: string, content: MediaContent, replyTo: OutgoingMessage["replyTo"], file: OutgoingFile) => {
  const kind = mediaPaths[content.type]
  const fields = {
    phone: to,
    ...(content.caption === null ? undefined : { caption: content.caption }),
    ...(replyTo === null || content.type === "sticker" ? undefined : { reply_message_id: replyTo.waId }),
    ...(content.type === "voice" ? { ptt: "true" } : undefined),
    ...(content.type === "image" ? { compress: "false" } : undefined)
  }
  return { path: ["send", kind], file: formBody(fields, kind, file) }
}

/** The path and the fields of a message. Locations have neither name nor address here. */
const compose = ({ content, file, mentions, replyTo, to }: OutgoingMessage): Composed => {
  if (isMedia(content)) {
    if (file === null) throw new Error("A message with a file was given without it")
    return composeMedia(to, content, replyTo, file)
  }
  switch (content.type) {
    case "reaction":
      return { path: ["message", content.target.waId, "reaction"], body: { emoji: content.emoji } }
    case "edit":
      return { path: ["message", content.target.waId, "update"], body: { message: content.text } }
    case "revoke":
      return { path: ["message", content.target.waId, "revoke"], body: {} }
    case "text":
      return {
        path: ["send", "message"],
        body: {
          message: content.text,
          ...(replyTo === null ? undefined : { reply_message_id: replyTo.waId }),
          ...(mentions.length === 0 ? undefined : { mentions: mentions.includes(everyone) ? ["@everyone"] : mentions })
        }
      }
    case "location":
      return {
        path: ["send", "location"],
        body: { latitude: String(content.location.latitude), longitude: String(content.location.longitude) }
      }
    case "contact":
      return {
        path: ["send", "contact"],
        body: { contact_name: content.contact.name, contact_phone: content.contact.phone }
      }
    case "poll": {
      const { choices = 1, options, question } = content.poll
      return { path: ["send", "poll"], body: { question, options, max_answer: choices } }
    }
  }
}

const reachOutLimit = "WhatsApp does not let this account write to this recipient now"

/** The meaning of an answer other than success. The gateway's messages contain numbers, so none is quoted. */
export const judge = (reply: Reply): Effect.Effect<never, SendRefused | SendOutcomeUnknown> => {
  const { envelope, status } = reply
  if (envelope === null) return judgeStranger(status)
  switch (envelope.code) {
    case "VALIDATION_ERROR":
    case "BAD_REQUEST":
      return refusedForGood("invalid", `the gateway found the message invalid (${envelope.code})`)
    case "INVALID_JID":
      return refusedForGood(
        "not-on-whatsapp",
        "according to the gateway, the recipient is not on WhatsApp, or could not find out"
      )
    case "WA_REACHOUT_TIMELOCK":
      return refusedForGood("reach-out-limit", reachOutLimit)
    case "AUTHENTICATION_ERROR":
    case "INVALID_WA_CLI":
      return refusedForNow("not-connected", `the gateway's account is not connected (${envelope.code})`)
    case "DEVICE_NOT_FOUND":
    case "DEVICE_ID_REQUIRED":
    case "DEVICE_MANAGER_UNAVAILABLE":
      return refusedForNow("gateway-unavailable", `the gateway cannot use the device (${envelope.code})`)
    case "UPLOAD_MEDIA_ERROR":
      return refusedForGood("refused", "the gateway could not upload the file")
    default:
      return isUnknownSlot(status, envelope)
        ? refusedForNow("gateway-unavailable", "the gateway does not have the device")
        : judgeInternal(status, envelope)
  }
}

/** Of the many failures that share one code, the ones that prove that nothing was sent. */
const judgeInternal = (status: number, { code, message }: Envelope) => {
  if (/ffmpeg not installed/i.test(message)) {
    return refusedForGood("unsupported", "the gateway lacks ffmpeg, which it needs for this file")
  }
  if (/invalid jid/i.test(message)) return refusedForGood("invalid", "the gateway cannot read the recipient's address")
  const refusal = /server returned error (\d{3})/.exec(message)
  if (refusal?.[1] === "463") return refusedForGood("reach-out-limit", reachOutLimit)
  if (refusal !== null) return refusedForGood("refused", `WhatsApp refused the message (${refusal[1]})`)
  return inDoubt(`the gateway answered ${status} ${code}`)
}

/** The answer of a proxy or of the gateway's framework: only a decision before a request is forwarded has a meaning. */
const judgeStranger = (status: number) => {
  switch (status) {
    case 401:
    case 403:
      return refusedForNow("gateway-unavailable", `the gateway refused our credentials (${status})`)
    case 404:
    case 405:
    case 501:
      return refusedForGood("unsupported", `the gateway has no such path (${status})`)
    case 413:
      return refusedForGood("invalid", "the message is too large for the gateway (413)")
    case 429:
      return refusedForNow("gateway-unavailable", "something before the gateway answered 429")
    default:
      return inDoubt(`something else than the gateway answered ${status}`)
  }
}
