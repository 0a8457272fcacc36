/** How a device answers messages with a language model, if it does. */
import { Schema } from "effect"
import { DeviceId, Timestamp } from "./Ids.ts"

/** One page of instructions; every answer pays for the whole prompt. */
export const promptMax = 8_000

/** Maximum number of earlier messages of the chat that the model gets with the message to answer. */
export const windowMax = 50

/** More answers to one chat in a day are not a conversation. */
export const dailyLimitMax = 500

export const autoReplyFields = {
  enabled: Schema.Boolean.annotate({ description: "Whether messages to the device are answered; off at first" }),
  prompt: Schema.String.check(Schema.isMaxLength(promptMax)).annotate({
    description: "The instructions for the model in each conversation: who it is, what it may say"
  }),
  window: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: windowMax })).annotate({
    description: "How many earlier messages of the same chat the model gets"
  }),
  dailyLimit: Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: dailyLimitMax })).annotate({
    description: "Answers to one chat within 24 hours, at most"
  })
}

export const AutoReply = Schema.Struct({
  deviceId: DeviceId,
  ...autoReplyFields,
  updatedAt: Schema.NullOr(Timestamp).annotate({ description: "Null if the settings were never changed" })
}).annotate({ identifier: "AutoReply", description: "How a device answers messages with a language model" })
export type AutoReply = typeof AutoReply.Type

export type AutoReplyChange = { readonly [Field in keyof typeof autoReplyFields]?: AutoReply[Field] | undefined }

export const autoReplyDefaults = (deviceId: DeviceId): AutoReply => ({
  deviceId,
  enabled: false,
  prompt: "",
  window: 10,
  dailyLimit: 50,
  updatedAt: null
})
