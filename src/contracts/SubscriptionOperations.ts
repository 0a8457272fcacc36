/**
 * The operations on subscriptions. A key that is limited to some devices sees only subscriptions that are limited to
 * some of its devices. Only the call that creates the signing secret returns it.
 */
import { Schema } from "effect"
import { HttpApiSchema } from "effect/http-api"
import { DeviceNotFound, StorageUnavailable } from "../domain/DeviceErrors.ts"
import { SecretKeyMissing } from "../domain/GatewayErrors.ts"
import { auditKind } from "../domain/EventKinds.ts"
import { DeviceId, Position } from "../domain/Ids.ts"
import { CursorInvalid, EventsExpired, LogReset, PositionInvalid } from "../domain/MessageErrors.ts"
import {
  Delivery,
  DeliveryOutcome,
  DeliveryResult,
  Subscription,
  SubscriptionId,
  SubscriptionName
} from "../domain/Subscription.ts"
import {
  HeaderRefused,
  SecretInvalid,
  SubscriptionNotFound,
  SubscriptionUnreadable,
  SubscriptionUrlRefused,
  TooManySubscriptions
} from "../domain/SubscriptionErrors.ts"
import { delivery, subscription, subscriptionSecret } from "./examples.ts"
import * as Operation from "./Operation.ts"
import { Kinds } from "./EventPayloads.ts"
import { Cursor, PageLimit } from "./Paging.ts"

/** For more devices, no filter is the better choice; a list of all subscriptions stays small. */
const devicesMax = 256

/** More headers, or longer ones, are not credentials. */
const headersMax = 16
const headerNameLengthMax = 64
const headerLengthMax = 2_048

/** Above this rate the limit has no effect: an endpoint gets at most `concurrencyMax` requests at a time. */
const rateLimitMax = 1_000

/** Maximum and default time for which the secret before a rotation also signs. */
const keepSecondsDefault = 24 * 60 * 60
const keepSecondsMax = 7 * 24 * 60 * 60

const IdField = { id: SubscriptionId }

const UrlText = Schema.RedactedFromValue(Schema.String.check(Schema.isBetweenLength(1, 2_048)))
const Secret = Schema.RedactedFromValue(Schema.String.check(Schema.isBetweenLength(1, 128)))

const HeadersField = Schema.Record(
  Schema.String.check(Schema.isBetweenLength(1, headerNameLengthMax)),
  Schema.RedactedFromValue(Schema.String.check(Schema.isMaxLength(headerLengthMax)))
).check(Schema.isMaxProperties(headersMax))
const KindsField = Kinds.check(
  Schema.isMinLength(1),
  Schema.makeFilter((kinds) =>
    !kinds.includes(auditKind) || `${auditKind} is not delivered: read it with the scope admin`
  )
)
const DevicesField = Schema.Array(DeviceId).check(Schema.isBetweenLength(1, devicesMax))
const RateLimit = Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: rateLimitMax }))

const CreateFields = {
  /** `https://` and a host on the public internet, unless the server allows private ones. */
  url: UrlText,
  name: Schema.optionalKey(SubscriptionName),
  kinds: Schema.optionalKey(KindsField),
  devices: Schema.optionalKey(DevicesField),
  headers: Schema.optionalKey(HeadersField),
  rateLimit: Schema.optionalKey(RateLimit),
  /** A secret of Standard Webhooks; generated if omitted. */
  secret: Schema.optionalKey(Secret),
  /** `beginning`: all events in the log; `now`, the default: only new events. */
  from: Schema.optionalKey(Schema.Literals(["beginning", "now"]))
}

/** Omitted fields are unchanged. Null removes a filter, a limit or all headers. */
const EditFields = {
  url: Schema.optionalKey(UrlText),
  name: Schema.optionalKey(Schema.NullOr(SubscriptionName)),
  kinds: Schema.optionalKey(Schema.NullOr(KindsField)),
  devices: Schema.optionalKey(Schema.NullOr(DevicesField)),
  headers: Schema.optionalKey(Schema.NullOr(HeadersField)),
  rateLimit: Schema.optionalKey(Schema.NullOr(RateLimit)),
  paused: Schema.optionalKey(Schema.Boolean)
}

const RotateFields = {
  secret: Schema.optionalKey(Secret),
  keepSeconds: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: keepSecondsMax })))
}

/** How long the previous secret is used if the caller sets no time. */
export const keepSeconds = (wanted: number | undefined): number => wanted ?? keepSecondsDefault

/** With the secret, which no other answer contains. */
const SubscriptionWithSecret = Schema.Struct({
  ...Subscription.fields,
  secret: Schema.RedactedFromValue(Schema.String)
}).annotate({ identifier: "SubscriptionWithSecret" })

/** All subscriptions: there are at most some hundreds. */
const SubscriptionList = Schema.Struct({ items: Schema.Array(Subscription), next: Schema.Null }).annotate({
  identifier: "SubscriptionList"
})

const DeliveryPage = Schema.Struct({
  items: Schema.Array(Delivery),
  next: Schema.NullOr(Schema.String)
}).annotate({ identifier: "DeliveryPage" })

const missing = [SubscriptionNotFound, StorageUnavailable] as const
const refused = [SubscriptionUrlRefused, HeaderRefused, DeviceNotFound, SecretKeyMissing] as const

export const subscriptionOperations = [
  Operation.post("Subscriptions", "Create", "/subscriptions", {
    scope: "manage",
    reach: "filter",
    summary: "Add a subscription",
    description:
      "Events go to the URL by HTTP POST as Standard Webhooks, at least once and in order for each device. " +
      "Only this answer contains the signing secret. Secret and headers are stored sealed.",
    body: CreateFields,
    bodyExample: { url: subscription.url, name: "Orders", kinds: ["message.received"] },
    audited: ["kinds", "devices", "rateLimit", "from"],
    success: SubscriptionWithSecret.pipe(HttpApiSchema.status(201)),
    example: { ...subscription, secret: subscriptionSecret },
    errors: [...refused, SecretInvalid, TooManySubscriptions, StorageUnavailable]
  }),
  Operation.get("Subscriptions", "List", "/subscriptions", {
    scope: "read",
    reach: "filter",
    summary: "List subscriptions",
    description: "All subscriptions, oldest first, with the state of their deliveries.",
    success: SubscriptionList,
    example: { items: [subscription], next: null },
    errors: [StorageUnavailable]
  }),
  Operation.get("Subscriptions", "Get", "/subscriptions/:id", {
    scope: "read",
    reach: "filter",
    summary: "Get a subscription",
    description: "Its position in the log, whether its endpoint accepts events, and which devices wait.",
    params: IdField,
    success: Subscription,
    example: subscription,
    errors: missing
  }),
  Operation.patch("Subscriptions", "Edit", "/subscriptions/:id", {
    scope: "manage",
    reach: "filter",
    summary: "Change a subscription",
    description:
      "Changes URL, filters, headers or rate, or pauses and resumes. A paused one resumes where it stopped, as " +
      "far as the log still keeps it. With the URL of another server, headers must be set again.",
    params: IdField,
    body: EditFields,
    bodyExample: { paused: true },
    audited: ["kinds", "devices", "rateLimit", "paused"],
    success: Subscription,
    example: subscription,
    errors: [...refused, ...missing]
  }),
  Operation.remove("Subscriptions", "Remove", "/subscriptions/:id", {
    scope: "manage",
    reach: "filter",
    summary: "Remove a subscription",
    description: "Removes the subscription with its position and its delivery log.",
    params: IdField,
    success: HttpApiSchema.NoContent,
    example: undefined,
    errors: missing
  }),
  Operation.act("Subscriptions", "Enable", "/subscriptions/:id/enable", {
    scope: "manage",
    reach: "filter",
    summary: "Enable a subscription",
    description: "Activates a disabled subscription, from where it stopped. A failing one is tried at once.",
    params: IdField,
    success: Subscription,
    example: subscription,
    errors: missing
  }),
  Operation.post("Subscriptions", "Replay", "/subscriptions/:id/replay", {
    scope: "manage",
    reach: "filter",
    summary: "Deliver again from a position",
    description:
      "Everything after the position is delivered, again or for the first time; `0` is the oldest event that " +
      "is kept. A later position skips the events before it.",
    params: IdField,
    body: { after: Position },
    bodyExample: { after: "1042" },
    success: Subscription,
    example: subscription,
    errors: [PositionInvalid, EventsExpired, LogReset, ...missing]
  }),
  Operation.get("Subscriptions", "Deliveries", "/subscriptions/:id/deliveries", {
    scope: "read",
    reach: "filter",
    summary: "List attempts",
    description: "The latest attempts to deliver, newest first. The newest 1,000 are kept, for 30 days; above 20 " +
      "per second, successes are dropped first.",
    params: IdField,
    query: {
      outcome: Schema.optionalKey(DeliveryOutcome.annotate({ description: "Only attempts with this outcome" })),
      limit: Schema.optionalKey(PageLimit),
      cursor: Schema.optionalKey(Cursor)
    },
    success: DeliveryPage,
    example: { items: [delivery], next: null },
    errors: [CursorInvalid, ...missing]
  }),
  Operation.act("Subscriptions", "Test", "/subscriptions/:id/test", {
    scope: "manage",
    reach: "filter",
    summary: "Send a test event",
    description: "Sends one event of the kind `subscription.test`, signed like any other, and returns the result.",
    params: IdField,
    success: DeliveryResult,
    example: { outcome: "delivered", status: 204, millis: 38, detail: null },
    errors: [SubscriptionUnreadable, ...missing]
  }),
  Operation.post("Subscriptions", "Rotate", "/subscriptions/:id/rotate", {
    scope: "manage",
    reach: "filter",
    summary: "Replace the secret",
    description:
      "A new secret signs from now on. The previous secret signs as well for `keepSeconds` (a day by default), so " +
      "that a receiver can change over. Only one previous secret is kept: rotating twice ends the first at once.",
    params: IdField,
    body: RotateFields,
    bodyExample: { keepSeconds: keepSecondsDefault },
    success: SubscriptionWithSecret,
    example: { ...subscription, secret: subscriptionSecret },
    errors: [SecretInvalid, SecretKeyMissing, ...missing]
  })
] as const
