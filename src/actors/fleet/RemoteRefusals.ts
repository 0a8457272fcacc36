/**
 * Records the gaps of webhooks that another process has refused: that process runs no actor of the device and could only
 * record the time. A row is deleted once its gap is committed; a crash in between records the interval twice.
 */
import { Duration, Effect, Option, Stream } from "effect"
import type { Scope } from "effect"
import type { DeviceId } from "../../domain/Ids.ts"
import { EventLog } from "../../services/EventLog.ts"
import { WebhookRefusals } from "../../services/WebhookRefusals.ts"
import type { DeviceCell } from "../device/DeviceCell.ts"
import { missWebhooks, push } from "../device/receptionGaps.ts"
import { DatabaseTime } from "./DatabaseTime.ts"

/** The polling interval, in case a notice was lost. */
const lookInterval = Duration.minutes(1)

/** How long rows of devices without a process are kept: no actor will account for them. */
const keptMax = Duration.days(1)

export const follow = Effect.fnUntraced(function*(
  cells: ReadonlyMap<DeviceId, DeviceCell>
): Effect.fn.Return<void, never, EventLog | DatabaseTime | Scope.Scope> {
  const found = yield* Effect.serviceOption(WebhookRefusals)
  if (Option.isNone(found)) return
  const refusals = found.value
  const log = yield* EventLog
  const time = yield* DatabaseTime

  const account = Effect.gen(function*() {
    const settled = (yield* refusals.list).filter(({ deviceId, firstAt, lastAt }) => {
      const cell = cells.get(deviceId)
      if (cell === undefined) return Date.parse(lastAt) < time.now() - Duration.toMillis(keptMax)
      push(cell, missWebhooks(cell, Date.parse(firstAt), Date.parse(lastAt)))
      return true
    })
    if (settled.length === 0) return
    yield* log.flush
    yield* refusals.remove(settled)
  }).pipe(
    Effect.catchCause((cause) => Effect.logDebug("webhooks that others refused could not be accounted for", cause))
  )
  yield* Effect.forkScoped(
    Stream.merge(refusals.changes, Stream.tick(lookInterval)).pipe(
      Stream.buffer({ capacity: 1, strategy: "sliding" }),
      Stream.runForEach(() => account)
    )
  )
})
