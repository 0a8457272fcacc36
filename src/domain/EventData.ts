/**
 * The data of an event, for each group of kinds: the schemas of `data`. The descriptions are part of the OpenAPI
 * document and of the event catalogue (docs/events.md), which is generated from them.
 */
import { Schema } from "effect"
import { DeviceMemory, DeviceState, Failure } from "./DeviceState.ts"
import { MessageId, Timestamp } from "./Ids.ts"
import { AckStatus } from "./Message.ts"
import { SendReason, reportedStates } from "./Send.ts"
import { DeliveryOutcome, DisabledReason, SubscriptionId } from "./Subscription.ts"

const extra = Schema.optionalKey(
  Schema.Record(Schema.String, Schema.Json).annotate({ description: "All other fields of the gateway, unchanged" })
)
const chat = Schema.String.annotate({ description: "The address of the chat, such as a contact or a group" })
const sender = Schema.String.annotate({
  description: "The address of the author; empty where the gateway does not name the author"
})
const fromMe = Schema.Boolean.annotate({ description: "Whether the author is the device's own account" })

/** The file of a message, as the gateway describes it. The file itself is not in the log. */
export const MediaData = Schema.Struct({
  kind: Schema.String.annotate({
    description: "`image`, `video`, `video_note`, `audio`, `document`, `sticker` and others: an open set"
  }),
  mimeType: Schema.optionalKey(Schema.String.annotate({ description: "The MIME type, as the gateway claims" })),
  size: Schema.optionalKey(Schema.Int.annotate({ description: "Bytes, as the gateway claims" })),
  fileName: Schema.optionalKey(Schema.String.annotate({ description: "The name that the sender gave the file" })),
  caption: Schema.optionalKey(Schema.String.annotate({ description: "The text under the file" }))
})
export type MediaData = typeof MediaData.Type

/** Of `message.received` and `message.sent`. */
export const MessageData = Schema.Struct({
  messageId: MessageId.annotate({ description: "Columba's id of the message. A repeat has the same one" }),
  waId: Schema.String.annotate({ description: "WhatsApp's id. The sender chooses it, so it is not unique by itself" }),
  chat,
  sender,
  fromMe,
  type: Schema.String.annotate({
    description:
      "`text`, `image`, `audio`, `video`, `document` and others: an open set. `unknown` if it was not recognised"
  }),
  body: Schema.NullOr(Schema.String).annotate({ description: "The text; null if there is none" }),
  media: Schema.optionalKey(MediaData.annotate({ description: "The file of the message, if it has one" })),
  extra
})
export type MessageData = typeof MessageData.Type

/** Of `message.ack`. */
export const AckData = Schema.Struct({
  messageId: Schema.NullOr(MessageId).annotate({
    description: "Columba's id of the message; null if the account acknowledges a message of another account"
  }),
  waId: Schema.String.annotate({ description: "WhatsApp's id of the message" }),
  chat,
  participant: Schema.NullOr(Schema.String).annotate({
    description: "The address of the acknowledging account; null if the gateway does not name it"
  }),
  status: AckStatus.annotate({ description: "The acknowledged status. It may be lower than an earlier one" }),
  extra
})
export type AckData = typeof AckData.Type

/** Of `message.status`. */
export const MessageStatusData = Schema.Struct({
  messageId: MessageId.annotate({ description: "Columba's id of the message, as returned by the request to send it" }),
  waId: Schema.NullOr(Schema.String).annotate({ description: "WhatsApp's id; null if it is not known to be sent" }),
  chat,
  status: Schema.Literals(reportedStates).annotate({
    description: "`unknown`: it may or may not have been sent; Columba checks, and `sent` or `failed` may follow"
  }),
  reason: Schema.NullOr(SendReason).annotate({ description: "The reason, a stable word; null if it was sent" }),
  detail: Schema.NullOr(Schema.String).annotate({ description: "The reason in one sentence, for people" })
})
export type MessageStatusData = typeof MessageStatusData.Type

/** Of `message.reaction`, `message.edited` and `message.revoked`. */
export const MessageActionData = Schema.Struct({
  waId: Schema.String.annotate({ description: "WhatsApp's id of the action itself" }),
  targetWaId: Schema.String.annotate({ description: "WhatsApp's id of the message that the action is about" }),
  chat,
  sender,
  fromMe,
  body: Schema.NullOr(Schema.String).annotate({
    description: "The emoji of a reaction (empty: removed), the new text of an edit, null for a revocation"
  }),
  extra
})
export type MessageActionData = typeof MessageActionData.Type

/** A transition that is reported as a part of the one that followed it. */
export const TransitionStep = Schema.Struct({
  state: DeviceState.annotateKey({ description: "The state after the step" }),
  rule: Schema.String.annotate({ description: "The stable name of the rule that caused the step" }),
  at: Timestamp.annotate({ description: "When it happened" })
})
export type TransitionStep = typeof TransitionStep.Type

/** Of `device.state`: a transition of the device's actor, with the short-lived ones just before it. */
export const DeviceStateData = Schema.Struct({
  from: Schema.String.annotate({
    description: "The state before the transition, and before its steps if there are any"
  }),
  steps: Schema.optionalKey(
    Schema.Array(TransitionStep).annotate({
      description: "Short-lived states between `from` and `state`, oldest first"
    })
  ),
  state: DeviceState.annotateKey({ description: "The state after the transition" }),
  rule: Schema.String.annotate({ description: "The stable name of the rule that caused the transition" }),
  failure: Schema.NullOr(Failure).annotate({ description: "The failure that caused the transition, if one did" }),
  jid: Schema.NullOr(Schema.String).annotate({ description: "The address of the account; null if it is not known" }),
  phone: Schema.NullOr(Schema.String).annotate({
    description: "The phone number of the account; null if it is not known"
  }),
  memory: DeviceMemory.annotate({ description: "The memory that the next actor of the device continues from" })
})
export type DeviceStateData = typeof DeviceStateData.Type

/** Maximum size of the kept part of a rejected frame: enough to recognise it, too little to fill the log with junk. */
export const rejectedRawMax = 64 * 1024

/** Of `frame.rejected`: a frame that could not be decoded or was not accepted. */
export const RejectedData = Schema.Struct({
  reason: Schema.Literals([
    "not-json",
    "not-an-event",
    "binary",
    "too-large",
    "wrong-device",
    "conflict",
    "unreadable"
  ]).annotate({ description: "A stable word for the reason" }),
  detail: Schema.String.annotate({ description: "The reason in one sentence, for people" }),
  raw: Schema.String.annotate({
    description: `The beginning of the frame, at most ${rejectedRawMax / 1024} KiB; base64 if it is binary`
  }),
  rawLength: Schema.Int.annotate({ description: "The length of the whole frame" })
})
export type RejectedData = typeof RejectedData.Type

/** Of `event.erased`: the event keeps its place in the log; its content is gone. */
export const ErasedData = Schema.Struct({
  erased: Schema.Literal(true).annotate({ description: "Always true" })
})

/** Data whose fields Columba does not define. */
export const OpaqueData = Schema.Record(Schema.String, Schema.Json)

/** Of `subscription.disabled`. */
export const SubscriptionDisabledData = Schema.Struct({
  subscriptionId: SubscriptionId,
  name: Schema.NullOr(Schema.String).annotate({ description: "The name of the subscription, if it has one" }),
  host: Schema.String.annotate({ description: "The host of its URL; the rest may be secret" }),
  reason: DisabledReason.annotate({
    description: "`failing`: nothing was delivered in three days of attempts; `gone`: the endpoint answered 410"
  }),
  outcome: Schema.NullOr(DeliveryOutcome).annotate({ description: "The outcome of the last attempt" }),
  status: Schema.NullOr(Schema.Int).annotate({ description: "The status of the last answer; null if there was none" })
})
export type SubscriptionDisabledData = typeof SubscriptionDisabledData.Type

/**
 * Of `audit.changed`. Values of fields are included only where the operation's declaration allows it: none of those
 * can hold a secret, a text or a phone number.
 */
export const AuditData = Schema.Struct({
  by: Schema.String.annotate({ description: "The name of the caller's key" }),
  operation: Schema.String.annotate({ description: "The name of the operation in RPC" }),
  subject: Schema.NullOr(Schema.String).annotate({
    description: "The id of the changed object, or the name of a gateway; null for several objects, or if none was made"
  }),
  outcome: Schema.Literals(["done", "unknown"]).annotate({
    description: "`unknown`: it was interrupted or failed midway, and may have taken effect"
  }),
  fields: Schema.Array(Schema.String).annotate({ description: "The names of the fields in the request" }),
  values: Schema.Record(Schema.String, Schema.Json).annotate({ description: "The values of some of them" })
})
export type AuditData = typeof AuditData.Type

/** Of `subscription.test`. */
export const SubscriptionTestData = Schema.Struct({ subscriptionId: SubscriptionId })
export type SubscriptionTestData = typeof SubscriptionTestData.Type
