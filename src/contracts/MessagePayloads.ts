/** Requests about messages: those to be sent and those in the log. */
import { Schema } from "effect"
import { DeviceId, MessageId, Timestamp } from "../domain/Ids.ts"
import { Message, MessageStatus } from "../domain/Message.ts"
import {
  CaptionedContent,
  ContactContent,
  DocumentContent,
  Emoji,
  FileContent,
  LocationContent,
  messageText,
  OnUnknown,
  PollContent,
  textMax
} from "../domain/Send.ts"
import { Cursor, page, PageLimit } from "./Paging.ts"

export const MessageIdField = { id: MessageId }
/** WhatsApp's ids have up to 32 characters; those of gateways may be longer. */
const waIdMax = 256

export const ListMessagesFields = {
  device: Schema.optionalKey(DeviceId.annotate({ description: "Only messages of this device" })),
  chat: Schema.optionalKey(
    Schema.String.check(Schema.isMaxLength(256)).annotate({ description: "Only messages of this chat, by its JID" })
  ),
  status: Schema.optionalKey(MessageStatus.annotate({ description: "Only messages with this status" })),
  waId: Schema.optionalKey(
    Schema.String.check(Schema.isMinLength(1), Schema.isMaxLength(waIdMax)).annotate({
      description: "Only messages with this WhatsApp id. The search goes in steps from the newest message: add the " +
        "device, and the chat if it is known"
    })
  ),
  limit: Schema.optionalKey(PageLimit),
  cursor: Schema.optionalKey(Cursor)
}
export const MessagePage = page("MessagePage", Message)
export type MessagePage = typeof MessagePage.Type

/** Above the number that WhatsApp shows; `everyone` stands for a whole group. */
const mentionsMax = 256
const addressMax = 128

/** Exactly one of the contents, `text` to `sticker`. */
export const SendMessageFields = {
  to: Schema.String.check(Schema.isMaxLength(addressMax)).annotate({
    description: "A phone number with its country code, or the address of a chat as in events"
  }),
  text: Schema.optionalKey(messageText(textMax)),
  location: Schema.optionalKey(LocationContent),
  contact: Schema.optionalKey(ContactContent),
  poll: Schema.optionalKey(PollContent),
  image: Schema.optionalKey(CaptionedContent.annotate({ description: "A JPEG or PNG picture" })),
  document: Schema.optionalKey(DocumentContent.annotate({ description: "Any file" })),
  audio: Schema.optionalKey(FileContent.annotate({ description: "A sound file" })),
  voice: Schema.optionalKey(FileContent.annotate({ description: "A sound file that is shown as a voice note" })),
  video: Schema.optionalKey(CaptionedContent.annotate({ description: "An MP4, Matroska or AVI film" })),
  sticker: Schema.optionalKey(FileContent.annotate({ description: "A WebP, PNG, JPEG or GIF picture" })),
  replyTo: Schema.optionalKey(MessageId.annotate({ description: "The message that this one replies to" })),
  mentions: Schema.optionalKey(
    Schema.Array(Schema.String.check(Schema.isMaxLength(addressMax))).check(Schema.isMaxLength(mentionsMax)).annotate({
      description: "The mentioned people: phone numbers or addresses, or `everyone` for the whole group"
    })
  ),
  scheduledAt: Schema.optionalKey(
    Timestamp.check(Schema.isMaxLength(64)).annotate({
      description: "When it is to be sent; as soon as possible if omitted"
    })
  ),
  onUnknown: Schema.optionalKey(OnUnknown.annotate({
    description:
      "What to do if no answer came and it is then proven that it was not sent: `report` it as failed, which " +
      "is the default, or `retry`"
  }))
}
export const ReactionFields = {
  emoji: Emoji.annotate({ description: "One emoji; empty to remove the reaction" })
}
export const EditFields = {
  text: messageText(textMax).annotate({
    description: "The new text"
  })
}
export const TypingFields = {
  active: Schema.Boolean.annotate({
    description: "Whether the account is typing; it ends by itself after some seconds"
  })
}
export const IdempotencyField = {
  idempotencyKey: Schema.optionalKey(
    Schema.String.check(Schema.isPattern(/^[\x21-\x7e]{1,255}$/u, {
      message: "Expected 1-255 visible ASCII characters"
    })).annotate({
      description: "Within 24 hours, repeats of the request make one message: each gets the answer of the first"
    })
  )
}
