/**
 * The `subscriptions` table with the cursors and the delivery log of its rows. Any process may write the requested
 * settings; records of deliveries are written only by the process whose claim holds the cursor.
 */
import { Context } from "effect"
import type { Duration, Effect, Stream } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId } from "../domain/Ids.ts"
import type { CursorInvalid } from "../domain/MessageErrors.ts"
import type {
  Delivery,
  DeliveryOutcome,
  DisabledReason,
  Subscription,
  SubscriptionHealth,
  SubscriptionId
} from "../domain/Subscription.ts"
import type { SubscriptionNotFound, TooManySubscriptions } from "../domain/SubscriptionErrors.ts"

/**
 * Maximum number of subscriptions. Each may hold `windowBytesMax` of events in memory and some connections, so their
 * number bounds the needs of the delivering process.
 */
export const subscriptionsMax = 500

/** The name of a subscription's cursor among the sinks of the log. */
export const formatCursorName = (id: SubscriptionId): string => `webhook:${id}`

/** Sealed texts. `headers` is a JSON object. */
export interface SealedSubscription {
  readonly secret: string
  readonly previousSecret: string | null
  readonly headers: string | null
}

export interface StoredSubscription {
  readonly subscription: Omit<Subscription, "behind" | "position">
  /** The number of its cursor. */
  readonly confirmed: number
  readonly sealed: SealedSubscription
  /** Grows with every change that deliveries must follow. */
  readonly revision: number
  /** How often it was enabled again: distinguishes one disabling from the next. */
  readonly enabledTimes: number
}

export interface SubscriptionFields {
  readonly id: SubscriptionId
  readonly name: string | null
  readonly url: string
  readonly kinds: ReadonlyArray<string> | null
  readonly devices: ReadonlyArray<DeviceId> | null
  readonly headers: ReadonlyArray<string>
  readonly rateLimit: number | null
  readonly sealed: SealedSubscription
}

export interface SubscriptionChange extends Partial<Omit<SubscriptionFields, "id">> {
  readonly paused?: boolean
  /** How long the previous secret is used too. */
  readonly previousSecretFor?: Duration.Duration
}

export interface DeliveryRow extends Delivery {
  readonly subscriptionId: SubscriptionId
}

export interface DeliveryPage {
  readonly items: ReadonlyArray<Delivery>
  readonly next: string | null
}

export class SubscriptionRepository extends Context.Service<SubscriptionRepository, {
  /** Active from the start, with a cursor at the beginning of the log or at its end. */
  readonly insert: (
    fields: SubscriptionFields,
    from: "beginning" | "now"
  ) => Effect.Effect<StoredSubscription, TooManySubscriptions | StorageUnavailable>
  readonly get: (id: SubscriptionId) => Effect.Effect<StoredSubscription, SubscriptionNotFound | StorageUnavailable>
  /** All subscriptions in order of creation, at most `subscriptionsMax`. */
  readonly list: Effect.Effect<ReadonlyArray<StoredSubscription>, StorageUnavailable>
  readonly update: (
    id: SubscriptionId,
    change: SubscriptionChange
  ) => Effect.Effect<StoredSubscription, SubscriptionNotFound | StorageUnavailable>
  /** With its cursor and its delivery log. */
  readonly delete: (id: SubscriptionId) => Effect.Effect<void, SubscriptionNotFound | StorageUnavailable>
  /** Activates it with a closed circuit. If it is not disabled, only the circuit changes. */
  readonly enable: (id: SubscriptionId) => Effect.Effect<StoredSubscription, SubscriptionNotFound | StorageUnavailable>
  /**
   * Moves the cursor, in either direction, and ends the claim of the process that holds it. No device is held back any
   * longer.
   */
  readonly moveTo: (
    id: SubscriptionId,
    seq: number
  ) => Effect.Effect<StoredSubscription, SubscriptionNotFound | StorageUnavailable>
  /** The next two change nothing and return false if a newer claim holds the cursor. */
  readonly saveHealth: (
    id: SubscriptionId,
    epoch: number,
    health: SubscriptionHealth
  ) => Effect.Effect<boolean, StorageUnavailable>
  readonly disable: (
    id: SubscriptionId,
    epoch: number,
    reason: DisabledReason
  ) => Effect.Effect<boolean, StorageUnavailable>
  /** Rows of deleted subscriptions are dropped. */
  readonly recordDeliveries: (rows: ReadonlyArray<DeliveryRow>) => Effect.Effect<void, StorageUnavailable>
  /** Newest first. */
  readonly deliveries: (
    id: SubscriptionId,
    options: {
      readonly limit: number
      readonly cursor?: string | undefined
      readonly outcome?: DeliveryOutcome | undefined
    }
  ) => Effect.Effect<DeliveryPage, SubscriptionNotFound | CursorInvalid | StorageUnavailable>
  /** Keeps the newest `each` of every subscription, and none that is older than `keep` by the database's clock. */
  readonly deleteDeliveries: (each: number, keep: Duration.Duration) => Effect.Effect<number, StorageUnavailable>
  /**
   * A pulse whenever the requested settings may have changed. There may be pulses without a change, and several
   * changes may share one.
   */
  readonly changes: Stream.Stream<void>
}>()("columba/services/SubscriptionRepository") {}
