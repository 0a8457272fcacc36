/**
 * Webhooks that were refused by a process that runs no actor of their device. The gateway may not try again, so the
 * interval is recorded for the process that keeps the device's gaps. The table `webhook_refusals` holds one interval
 * per device; all times are the database's.
 */
import { Context } from "effect"
import type { Effect, Stream } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { DeviceId, Timestamp } from "../domain/Ids.ts"

export interface WebhookRefusal {
  readonly deviceId: DeviceId
  readonly firstAt: Timestamp
  readonly lastAt: Timestamp
}

/** How long ago by the reporter's monotonic clock, in milliseconds: its wall clock may differ from the database's. */
export interface ReportedRefusal {
  readonly deviceId: DeviceId
  readonly firstAgo: number
  readonly lastAgo: number
}

export class WebhookRefusals extends Context.Service<WebhookRefusals, {
  /** Widens an existing interval. */
  readonly report: (refusals: ReadonlyArray<ReportedRefusal>) => Effect.Effect<void, StorageUnavailable>
  readonly list: Effect.Effect<ReadonlyArray<WebhookRefusal>, StorageUnavailable>
  /** Removes intervals that are accounted for; one that was widened since it was read stays. */
  readonly remove: (refusals: ReadonlyArray<WebhookRefusal>) => Effect.Effect<void, StorageUnavailable>
  /** A pulse when there may be some: at first, and after a report of any process. */
  readonly changes: Stream.Stream<void>
}>()("columba/services/WebhookRefusals") {}
