/** The inputs and outputs of a delivery plan: the next step, the outcome of an attempt, and what follows from it. */
import type { LoggedEvent } from "../../../domain/Event.ts"
import type { DeviceId } from "../../../domain/Ids.ts"
import type { DeliveryResult, DisabledReason, SubscriptionHealth } from "../../../domain/Subscription.ts"

/** One attempt. `attempt` is 1 for the first one of this process. */
export interface Job {
  readonly event: LoggedEvent
  readonly attempt: number
  readonly from: "window" | "held"
  /** Sent while the circuit was open, to find out whether it can be closed. */
  readonly probe: boolean
}

/** What to do now. `Idle` until something changes, or `wakeAt` in monotonic milliseconds. */
export type Step =
  | { readonly _tag: "Send"; readonly job: Job }
  | { readonly _tag: "ReadHeld"; readonly device: DeviceId; readonly after: number }
  | { readonly _tag: "Idle"; readonly wakeAt: number | null }

/** The consequence of an attempt's outcome, beyond the plan's own state. */
export type Consequence =
  | { readonly _tag: "None" }
  /** The event was abandoned; the next one of its device follows. */
  | { readonly _tag: "Abandoned" }
  | { readonly _tag: "Disable"; readonly reason: DisabledReason }

export interface Reported extends Pick<DeliveryResult, "outcome" | "status" | "detail"> {
  readonly retryAfterSeconds: number | null
}

export interface PlanOptions {
  readonly kinds: ReadonlyArray<string> | null
  readonly devices: ReadonlyArray<DeviceId> | null
  readonly rateLimit: number | null
  readonly cursor: number
  /** The health that an earlier process recorded. */
  readonly health: SubscriptionHealth
  /** From 0 to 1. */
  readonly random: () => number
  readonly now: number
}
