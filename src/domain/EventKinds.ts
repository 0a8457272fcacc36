/**
 * The table of event kinds: for each kind its data, one sentence and an example. The schema of events, the types that
 * tie a kind to its data, the OpenAPI document and the event catalogue (docs/events.md) all follow from it. A new kind
 * is a new entry here; `npm run docs` then writes its documentation.
 */
import { Schema } from "effect"
import {
  AckData,
  AuditData,
  DeviceStateData,
  ErasedData,
  MessageActionData,
  MessageData,
  MessageStatusData,
  OpaqueData,
  RejectedData,
  SubscriptionDisabledData,
  SubscriptionTestData
} from "./EventData.ts"
import { GapClosedData, GapId, GapOpenedData } from "./Gap.ts"
import { DeviceLoginData } from "./Login.ts"
import { DeviceId, EventId, Seq, Timestamp } from "./Ids.ts"
import { Via } from "./Via.ts"

/** The kind of events that record who has changed what. Not every reader of the log may see them. */
export const auditKind = "audit.changed"

/** The fields that every event has, whatever its kind. */
export const eventFields = {
  seq: Seq.annotateKey({
    description: "The number in the log: contiguous, in commit order over all devices"
  }),
  id: EventId.annotate({ description: "The id of the event, the same in every repeat: deduplicate on it" }),
  deviceId: DeviceId,
  occurredAt: Timestamp.annotate({
    description:
      "When it happened, as the gateway reports; the time of arrival if it reports none. Never used for order"
  }),
  recordedAt: Timestamp.annotate({ description: "When it was committed, by the database's clock" }),
  via: Via.annotate({
    description:
      "How it came: over the session, by a webhook or from the gateway's history; `columba` for what Columba " +
      "itself observed"
  })
}

interface Definition<KindSchema extends Schema.Top, Data extends Schema.Top> {
  readonly kind: KindSchema
  /** One sentence: what happened. */
  readonly sentence: string
  readonly data: Data
  readonly example: {
    readonly kind: KindSchema["Encoded"]
    readonly via: Via
    readonly data: Data["Encoded"]
  }
}

/** One entry of the table, with the schema of the whole event and the example in its wire form. */
const define = <KindSchema extends Schema.Top, Data extends Schema.Top>(
  { data, example, kind, sentence }: Definition<KindSchema, Data>
) => ({
  sentence,
  data,
  event: Schema.Struct({ ...eventFields, kind, data }).annotate({ description: sentence }),
  example: {
    seq: "1042",
    id: "0199c1f4-6f0a-7c3e-9d5b-2f1e8a7c4b60",
    kind: example.kind,
    deviceId: "dev_01K5ZQ4J7V8XW2M3N6P9R0S1T4",
    occurredAt: "2026-11-22T10:04:11Z",
    recordedAt: "2026-11-22T10:04:11.402Z",
    via: example.via,
    data: example.data
  }
})

const [contact, own] = ["6281298765432@s.whatsapp.net", "6281234567890@s.whatsapp.net"]
const [receivedId, sentId] = ["msg_01K5ZQ9D3B7C8E5F6G1H2J4K0M", "msg_01K5ZQ9F6N2P4R7S8T0V1W3X5Y"]
const gapId = GapId.make("gap_01K5ZQ9H8W6X7Y8Z9A0B1C2D3E")
const [receivedWaId, sentWaId, actionWaId] = ["3EB0C767D26A1D8E4F2A", "3EB0A1B2C3D4E5F60718", "3EB05D41F7C90A3B6E82"]

/** Every kind of event. */
export const eventKinds = [
  define({
    kind: Schema.Literal("message.received"),
    sentence: "A message from a contact or a group has arrived.",
    data: MessageData,
    example: {
      kind: "message.received",
      via: "live",
      data: {
        messageId: receivedId,
        waId: receivedWaId,
        chat: contact,
        sender: contact,
        fromMe: false,
        type: "text",
        body: "Is the shop open today?"
      }
    }
  }),
  define({
    kind: Schema.Literal("message.sent"),
    sentence: "The device's own account has sent a message, from the phone or through the gateway.",
    data: MessageData,
    example: {
      kind: "message.sent",
      via: "live",
      data: {
        messageId: sentId,
        waId: sentWaId,
        chat: contact,
        sender: own,
        fromMe: true,
        type: "text",
        body: "Yes, until six."
      }
    }
  }),
  define({
    kind: Schema.Literal("message.ack"),
    sentence: "One participant has acknowledged one message.",
    data: AckData,
    example: {
      kind: "message.ack",
      via: "live",
      data: { messageId: sentId, waId: sentWaId, chat: contact, participant: contact, status: "read" }
    }
  }),
  define({
    kind: Schema.Literal("message.status"),
    sentence: "A message that Columba was asked to send has reached a state: sent, or why not.",
    data: MessageStatusData,
    example: {
      kind: "message.status",
      via: "columba",
      data: { messageId: sentId, waId: sentWaId, chat: contact, status: "sent", reason: null, detail: null }
    }
  }),
  define({
    kind: Schema.Literal("message.reaction"),
    sentence: "Someone has reacted to a message, or has removed the reaction.",
    data: MessageActionData,
    example: {
      kind: "message.reaction",
      via: "live",
      data: {
        waId: actionWaId,
        targetWaId: sentWaId,
        chat: contact,
        sender: contact,
        fromMe: false,
        body: "👍"
      }
    }
  }),
  define({
    kind: Schema.Literal("message.edited"),
    sentence: "The text of a message has been replaced by its author.",
    data: MessageActionData,
    example: {
      kind: "message.edited",
      via: "live",
      data: {
        waId: actionWaId,
        targetWaId: receivedWaId,
        chat: contact,
        sender: contact,
        fromMe: false,
        body: "Is the shop open tomorrow?"
      }
    }
  }),
  define({
    kind: Schema.Literal("message.revoked"),
    sentence: "A message has been deleted for everyone.",
    data: MessageActionData,
    example: {
      kind: "message.revoked",
      via: "live",
      data: {
        waId: actionWaId,
        targetWaId: receivedWaId,
        chat: contact,
        sender: contact,
        fromMe: false,
        body: null
      }
    }
  }),
  define({
    kind: Schema.Literal("device.state"),
    sentence: "The device has changed from one state to another.",
    data: DeviceStateData,
    example: {
      kind: "device.state",
      via: "columba",
      data: {
        from: "Backoff",
        steps: [
          {
            state: { _tag: "Connecting", attempt: 2, sessionOpen: false },
            rule: "retry-due",
            at: "2026-11-22T10:04:10.812Z"
          },
          {
            state: { _tag: "Connecting", attempt: 2, sessionOpen: true },
            rule: "session-open-unproven",
            at: "2026-11-22T10:04:10.857Z"
          }
        ],
        state: { _tag: "Online", jid: own, since: "2026-11-22T10:04:11Z" },
        rule: "status-usable",
        failure: null,
        jid: own,
        phone: "+6281234567890",
        memory: { failures: [], releaseRequests: 0 }
      }
    }
  }),
  define({
    kind: Schema.Literal("device.login"),
    sentence: "A login of the device has begun or has ended; the event contains no code.",
    data: DeviceLoginData,
    example: {
      kind: "device.login",
      via: "columba",
      data: { method: "qr", outcome: "succeeded", reason: null, codes: 2, jid: own }
    }
  }),
  define({
    kind: Schema.Literal("gap.opened"),
    sentence: "An interval has begun in which the device may not receive everything.",
    data: GapOpenedData,
    example: {
      kind: "gap.opened",
      via: "columba",
      data: {
        gapId,
        cause: "socket-down",
        openedAt: "2026-11-22T10:04:11.320Z",
        detail: "the gateway closed the session with code 1006"
      }
    }
  }),
  define({
    kind: Schema.Literal("gap.closed"),
    sentence: "An interval without reception is accounted for: nothing is missing, or that cannot be proven.",
    data: GapClosedData,
    example: {
      kind: "gap.closed",
      via: "columba",
      data: {
        gapId,
        cause: "socket-down",
        openedAt: "2026-11-22T10:04:11.320Z",
        endedAt: "2026-11-22T10:04:15.870Z",
        status: "unprovable",
        proven: ["messages"],
        recovered: 2,
        detail: "the gateway closed the session with code 1006"
      }
    }
  }),
  define({
    kind: Schema.Literal("frame.rejected"),
    sentence: "A frame could not be read or was not accepted; its beginning is stored.",
    data: RejectedData,
    example: {
      kind: "frame.rejected",
      via: "live",
      data: { reason: "not-json", detail: "the frame is not JSON", raw: "upstream timed out", rawLength: 18 }
    }
  }),
  define({
    kind: Schema.Literal("event.erased"),
    sentence: "The content of this event has been erased at the request of a caller; its number remains.",
    data: ErasedData,
    example: { kind: "event.erased", via: "live", data: { erased: true } }
  }),
  define({
    kind: Schema.Literal(auditKind),
    sentence: "A caller has changed something; only readers with the scope `admin` get it; it concerns no device, so " +
      "`deviceId` is `dev_00000000000000000000000000`.",
    data: AuditData,
    example: {
      kind: "audit.changed",
      via: "columba",
      data: {
        by: "operator",
        operation: "Keys.Create",
        subject: "key_01K5ZR4Q8S0V2X4Z6B8D0F2H4K",
        outcome: "done",
        fields: ["name", "scopes"],
        values: { name: "shop", scopes: ["read", "send"] }
      }
    }
  }),
  define({
    kind: Schema.Literal("subscription.disabled"),
    sentence: "Columba has disabled a subscription; it concerns no device, so `deviceId` is " +
      "`dev_00000000000000000000000000`.",
    data: SubscriptionDisabledData,
    example: {
      kind: "subscription.disabled",
      via: "columba",
      data: {
        subscriptionId: "sub_01K5ZR0M4T6V8X0Z2B4D6F8H0J",
        name: "Orders",
        host: "hooks.example.com",
        reason: "failing",
        outcome: "failed",
        status: 500
      }
    }
  }),
  define({
    kind: Schema.Literal("subscription.test"),
    sentence: "A test on request, sent to one subscription; it is not in the log, and its `seq` is 0.",
    data: SubscriptionTestData,
    example: {
      kind: "subscription.test",
      via: "columba",
      data: { subscriptionId: "sub_01K5ZR0M4T6V8X0Z2B4D6F8H0J" }
    }
  }),
  define({
    kind: Schema.TemplateLiteral(["gateway.", Schema.String]),
    sentence: "The gateway has sent an event for which Columba has no kind; its payload is stored unchanged.",
    data: OpaqueData,
    example: {
      kind: "gateway.call.offer",
      via: "live",
      data: { call_id: "5F2A9C", from: contact, timestamp: "2026-11-22T10:04:11Z" }
    }
  })
] as const
