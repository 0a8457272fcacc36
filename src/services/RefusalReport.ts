/**
 * Reports the webhooks that this process has turned away and about which it could tell no actor. They are turned away
 * because the database is away or the log is full, so they are remembered until they could be written down.
 */
import { Clock, Duration, Effect } from "effect"
import type { Scope } from "effect"
import type { DeviceId } from "../domain/Ids.ts"
import { Condition } from "./Condition.ts"
import { monotonicMillis } from "./monotonic.ts"
import { WebhookRefusals } from "./WebhookRefusals.ts"

/** An interval is over when so long nothing was turned away. One that goes on is reported as far as it went. */
const quietTime = Duration.seconds(5)
const reportMax = Duration.minutes(1)

/** How often it looks while anything is remembered; else nothing runs. */
const interval = Duration.seconds(1)

interface Interval {
  readonly first: number
  last: number
}

export interface RefusalReport {
  /** One of this device was turned away now. Bounded by the devices, which are found in the table before. */
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
    // The database may still be away; what is remembered stays.
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
