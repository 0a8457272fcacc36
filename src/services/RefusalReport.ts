/**
 * Reports refused webhooks for which this process has no actor to notify. They are refused because the database is
 * unavailable or the log is full, so they are kept in memory until they can be recorded.
 */
import { Clock, Duration, Effect } from "effect"
import type { Scope } from "effect"
import type { DeviceId } from "../domain/Ids.ts"
import { Condition } from "./Condition.ts"
import { monotonicMillis } from "./monotonic.ts"
import { WebhookRefusals } from "./WebhookRefusals.ts"

/** An interval ends when no webhook was refused for this time. An interval that lasts is reported up to now. */
const quietTime = Duration.seconds(5)
const reportMax = Duration.minutes(1)

/** How often pending refusals are checked; without any, nothing runs. */
const interval = Duration.seconds(1)

interface Interval {
  readonly first: number
  last: number
}

export interface RefusalReport {
  /** A webhook of this device was refused now. Bounded by the devices, which are looked up in the table first. */
  readonly note: (device: DeviceId) => void
}

export const make: Effect.Effect<RefusalReport, never, WebhookRefusals | Scope.Scope> = Effect.gen(function*() {
  const refusals = yield* WebhookRefusals
  const clock = yield* Clock.Clock
  const intervals = new Map<DeviceId, Interval>()

  const isDue = ({ first, last }: Interval, now: number): boolean =>
    now - last >= Duration.toMillis(quietTime) || now - first >= Duration.toMillis(reportMax)

  const report = Effect.gen(function*() {
    const now = monotonicMillis(clock)
    const due = [...intervals].filter(([, one]) => isDue(one, now))
    if (due.length === 0) return
    yield* refusals.report(
      due.map(([deviceId, { first, last }]) => ({ deviceId, firstAgo: now - first, lastAgo: now - last }))
    )
    for (const [device, one] of due) if (intervals.get(device) === one) intervals.delete(device)
  }).pipe(
    // The database may still be unavailable; the refusals stay in memory.
    Effect.catch(() => Effect.void)
  )
  const noted = new Condition()
  yield* Effect.forkScoped(
    noted.waitUntil(() => intervals.size > 0).pipe(
      Effect.andThen(Effect.sleep(interval)),
      Effect.andThen(report),
      Effect.forever
    )
  )

  return {
    note: (device) => {
      const now = monotonicMillis(clock)
      const known = intervals.get(device)
      if (known !== undefined) {
        known.last = now
        return
      }
      intervals.set(device, { first: now, last: now })
      noted.changed()
    }
  }
})
