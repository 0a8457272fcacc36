/**
 * A subscription: a server that gets events by HTTP, and the state of its deliveries. The row holds the requested
 * settings; the delivering process last recorded health and position.
 */
import { Schema } from "effect"
import { noControlCharacters } from "./Device.ts"
import { DeviceId, EventId, Position, Timestamp } from "./Ids.ts"

/** `sub_` and 26 Crockford characters. */
export const SubscriptionId = Schema.String.check(Schema.isPattern(/^sub_[0-9A-Z]{26}$/u, {
  message: "Expected a subscription id like sub_01K…"
})).pipe(Schema.brand("SubscriptionId")).annotate({
  description: "The id of a subscription"
})
export type SubscriptionId = typeof SubscriptionId.Type

/** The purpose, for people. */
export const SubscriptionName = Schema.String.check(Schema.isBetweenLength(1, 120), noControlCharacters).annotate({
  description: "A name for people"
})

/**
 * `active`: events are delivered · `paused`: by an operator · `disabled`: by Columba, because the endpoint accepted
 * nothing for too long or answered that it is gone.
 */
export const SubscriptionState = Schema.Literals(["active", "paused", "disabled"])
export type SubscriptionState = typeof SubscriptionState.Type

/** `failing`: no delivery succeeded for three days of attempts · `gone`: the endpoint answered 410. */
export const DisabledReason = Schema.Literals(["failing", "gone"])
export type DisabledReason = typeof DisabledReason.Type

/**
 * The outcome of an attempt. `delivered`: 2xx · `refused`: the endpoint does not accept this event (400, 409, 413,
 * 415, 422) · `failed`: any other status · `throttled`: 429 · `gone`: 410 · `timeout`, `connection`: no answer ·
 * `forbidden`: Columba does not send to the address of the URL · `unsigned`: the keys of this process cannot decrypt
 * the secret.
 */
export const DeliveryOutcome = Schema.Literals([
  "delivered",
  "refused",
  "failed",
  "throttled",
  "gone",
  "timeout",
  "connection",
  "forbidden",
  "unsigned"
])
export type DeliveryOutcome = typeof DeliveryOutcome.Type

/** The result of an attempt. */
export const DeliveryResult = Schema.Struct({
  outcome: DeliveryOutcome,
  /** The status of the answer; null if there was none. */
  status: Schema.NullOr(Schema.Int),
  /** From the first byte of the request to the answer. */
  millis: Schema.Int,
  /** Why there was no answer; null if there was one. */
  detail: Schema.NullOr(Schema.String)
}).annotate({ identifier: "DeliveryResult" })
export type DeliveryResult = typeof DeliveryResult.Type

/** One attempt to deliver one event. */
export const Delivery = Schema.Struct({
  eventId: EventId,
  seq: Schema.FiniteFromString,
  kind: Schema.String,
  deviceId: DeviceId,
  /** 1 for the first attempt of an event; another process counts anew. */
  attempt: Schema.Int,
  at: Timestamp,
  ...DeliveryResult.fields,
  /** Columba abandoned this event with this attempt, and continued with the next one of its device. */
  abandoned: Schema.Boolean
}).annotate({ identifier: "Delivery" })
export type Delivery = typeof Delivery.Type

/** An event that the endpoint did not accept; the later ones of its device wait behind it. */
export const HeldDevice = Schema.Struct({
  deviceId: DeviceId,
  /** The number of the waiting event. */
  seq: Schema.FiniteFromString,
  since: Timestamp,
  attempts: Schema.Int,
  outcome: DeliveryOutcome,
  status: Schema.NullOr(Schema.Int)
}).annotate({ identifier: "HeldDevice" })
export type HeldDevice = typeof HeldDevice.Type

/** The state of the deliveries, recorded at changes and after some seconds. */
export const SubscriptionHealth = Schema.Struct({
  /** Set while the circuit is open: only occasional probes are sent. */
  failing: Schema.NullOr(Schema.Struct({
    since: Timestamp,
    /** Probes that have failed. */
    attempts: Schema.Int,
    /** The number of failed probes after which the subscription is disabled. */
    attemptsMax: Schema.Int,
    outcome: DeliveryOutcome,
    status: Schema.NullOr(Schema.Int),
    detail: Schema.NullOr(Schema.String)
  })),
  /** Devices whose next event the endpoint does not accept, while it accepts those of others. */
  held: Schema.Array(HeldDevice),
  /** Events that were abandoned after three days of attempts of their own. */
  abandoned: Schema.Int,
  /** Numbers of the log that were deleted before this subscription reached them. */
  expired: Schema.Int,
  lastDeliveredAt: Schema.NullOr(Timestamp)
}).annotate({ identifier: "SubscriptionHealth" })
export type SubscriptionHealth = typeof SubscriptionHealth.Type

export const noHealth: SubscriptionHealth = {
  failing: null,
  held: [],
  abandoned: 0,
  expired: 0,
  lastDeliveredAt: null
}

export const Subscription = Schema.Struct({
  id: SubscriptionId,
  name: Schema.NullOr(SubscriptionName),
  url: Schema.String,
  /** Only events of these kinds; null for all. */
  kinds: Schema.NullOr(Schema.Array(Schema.String)),
  /** Only events of these devices; null for all. */
  devices: Schema.NullOr(Schema.Array(DeviceId)),
  /** Names of the headers that are sent besides Columba's own. Their values are never returned. */
  headers: Schema.Array(Schema.String),
  /** Events per second at most; null for no limit. */
  rateLimit: Schema.NullOr(Schema.Int),
  state: SubscriptionState,
  disabled: Schema.NullOr(Schema.Struct({ at: Timestamp, reason: DisabledReason })),
  /** Until when deliveries are signed with the secret before the last rotation too. */
  previousSecretUntil: Schema.NullOr(Timestamp),
  /** Everything up to here is delivered, except the events in `health.held`. */
  position: Position,
  /** Numbers of the log after the position; not all of them are for this subscription. */
  behind: Schema.Int,
  health: SubscriptionHealth,
  createdAt: Timestamp,
  updatedAt: Timestamp
}).annotate({ identifier: "Subscription", description: "A server that gets events by HTTP" })
export type Subscription = typeof Subscription.Type
