/**
 * A message that Columba sends: its content and its state. It is accepted once it is stored, sent to the gateway at
 * most once at a time, and ends in one of the final states. `unknown` is the state of a message that may or may not
 * have been sent: Columba looks for it, and never sends it again unless the request asked for that.
 */
import { Schema } from "effect"
import { FileId } from "./OutgoingFile.ts"
import type { FileSource, MediaKind } from "./OutgoingFile.ts"
import { Timestamp } from "./Ids.ts"
import type { MessageId } from "./Ids.ts"

/**
 * Texts consist of whole characters: half of a surrogate pair cannot be encoded, and databases do not store U+0000 in
 * texts.
 */
export const messageText = (max: number) =>
  Schema.String.check(
    Schema.isMinLength(1),
    Schema.isMaxLength(max),
    Schema.makeFilter((given) =>
      (given.isWellFormed() && !given.includes("\0")) || "Expected whole characters, none of which is U+0000"
    )
  )

/** WhatsApp cuts or refuses longer texts. */
export const textMax = 65_536

/** WhatsApp allows at most 12 options in a poll. */
const pollOptionsMax = 12

export const LocationContent = Schema.Struct({
  latitude: Schema.Finite.check(Schema.isBetween({ minimum: -90, maximum: 90 })),
  longitude: Schema.Finite.check(Schema.isBetween({ minimum: -180, maximum: 180 })),
  name: Schema.optionalKey(messageText(1000))
})
export const ContactContent = Schema.Struct({
  name: messageText(256),
  phone: Schema.String.check(Schema.isPattern(/^\+?[1-9]\d{6,14}$/u, {
    message: "Expected a phone number in international form"
  }))
})
export const PollContent = Schema.Struct({
  question: messageText(255),
  options: Schema.Array(messageText(100)).check(
    Schema.isMinLength(2),
    Schema.isMaxLength(pollOptionsMax),
    Schema.makeFilter((options) => new Set(options).size === options.length || "Expected options that differ")
  ),
  /** How many options one person may choose; 1 if omitted. */
  choices: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: pollOptionsMax })))
})

/** WhatsApp cuts longer captions. */
const captionMax = 4096

/**
 * Either the id of an uploaded file or a URL. The schema does not check which, because its error message would be less
 * helpful.
 */
const source = {
  file: Schema.optionalKey(FileId),
  url: Schema.optionalKey(
    messageText(4096).annotate({ description: "The URL from which it is fetched when the message is sent" })
  )
}
const caption = Schema.optionalKey(messageText(captionMax).annotate({ description: "The text under the file" }))

export const FileContent = Schema.Struct(source)
export const CaptionedContent = Schema.Struct({ ...source, caption })
export const DocumentContent = Schema.Struct({
  ...source,
  caption,
  fileName: Schema.optionalKey(messageText(1024).annotate({ description: "The name that the recipient sees" }))
})

/** A message with a file. */
export interface MediaContent {
  readonly type: MediaKind
  readonly file: FileSource
  readonly caption: string | null
  readonly fileName: string | null
}

/** The message that an action applies to. */
export interface ActionTarget extends RepliedTo {
  readonly message: MessageId
}

/** An action on a message of the chat. */
export type ActionContent =
  /** An empty emoji removes the reaction. */
  | { readonly type: "reaction"; readonly target: ActionTarget; readonly emoji: string }
  | { readonly type: "edit"; readonly target: ActionTarget; readonly text: string }
  /** Deletes the message for everyone. */
  | { readonly type: "revoke"; readonly target: ActionTarget }

/** The content of a message. */
export type MessageContent =
  | MediaContent
  | { readonly type: "text"; readonly text: string }
  | { readonly type: "location"; readonly location: typeof LocationContent.Type }
  | { readonly type: "contact"; readonly contact: typeof ContactContent.Type }
  | { readonly type: "poll"; readonly poll: typeof PollContent.Type }

/** A message, or an action on one. */
export type OutgoingContent = MessageContent | ActionContent

export type ContentType = OutgoingContent["type"]

export const isAction = (content: OutgoingContent): content is ActionContent => "target" in content

/** Splits a text into the characters that WhatsApp shows. */
const signs = new Intl.Segmenter("en", { granularity: "grapheme" })
const emojiPattern = /\p{Extended_Pictographic}|\p{Emoji_Presentation}|\p{Regional_Indicator}|\u20e3/u

/** One emoji, or the empty text. */
export const Emoji = Schema.String.check(
  Schema.isMaxLength(64),
  Schema.makeFilter(
    (given) => given === "" || (emojiPattern.test(given) && [...signs.segment(given)].length === 1),
    { expected: "one emoji, or nothing to remove the reaction" }
  )
)

export const isMedia = (content: OutgoingContent): content is MediaContent => "file" in content

/** Whether the file is fetched when the message is sent. */
export const isFetched = (content: OutgoingContent): boolean => isMedia(content) && "url" in content.file

/** The file of a message; null if it has none. */
export const fileOf = (content: OutgoingContent): FileSource | null => isMedia(content) ? content.file : null

/** Mentions all members of a group. */
export const everyone = "everyone"

export interface RepliedTo {
  readonly waId: string
  readonly fromMe: boolean
  readonly sender: string
}

/** The part of a message that is sent to the gateway besides the recipient. */
export interface SendBody {
  readonly content: OutgoingContent
  /** The message that is replied to, by its WhatsApp id. */
  readonly replyTo: RepliedTo | null
  /** Addresses that the text mentions. */
  readonly mentions: ReadonlyArray<string>
}

/** The reaction once it is proven, after an interval of doubt, that the gateway has not sent a message. */
export const OnUnknown = Schema.Literals(["report", "retry"])
export type OnUnknown = typeof OnUnknown.Type

/** Why a message failed, is unknown or waits: a stable word. */
export const SendReason = Schema.Literals([
  "not-on-whatsapp",
  "reach-out-limit",
  "reach-out-pause",
  "invalid",
  "unsupported",
  "refused",
  "not-connected",
  "gateway-unavailable",
  "no-answer",
  "process-ended",
  "not-in-history",
  "file-lost",
  "file-invalid",
  "file-unavailable",
  "expired"
])
export type SendReason = typeof SendReason.Type

/** The pacing rules that can delay a message. */
export const PacingReason = Schema.Literals(["rate", "daily-cap", "quiet-hours", "recipient"])
export type PacingReason = typeof PacingReason.Type

/** What a message waits for before it is sent to the gateway. */
export const SendWait = Schema.Struct({
  reason: Schema.Literals(["scheduled", "device", "gateway", ...PacingReason.literals]).annotate({
    description: "`scheduled`: its time; `device`: the device is not online; `gateway`: the answer to its request; " +
      "otherwise the pacing rule"
  }),
  /** The earliest time; null if it is not known. */
  until: Schema.NullOr(Timestamp)
}).annotate({ identifier: "SendWait" })
export type SendWait = typeof SendWait.Type

/** `sending`: claimed, and its request may be under way. Callers see it as `pending`. */
export type SendState =
  | "scheduled"
  | "pending"
  | "sending"
  | "sent"
  | "failed"
  | "unknown"
  | "cancelled"
  | "expired"

/** The states that `message.status` events report. */
export const reportedStates = ["sent", "failed", "unknown", "cancelled", "expired"] as const
export type ReportedState = (typeof reportedStates)[number]
