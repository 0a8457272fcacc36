/**
 * Plans the occurrences of recurring sends: when one is due, the next one is stored as a scheduled message, which the
 * process that runs the device sends. Several processes may do so concurrently; each occurrence is stored by one of them. A
 * stored occurrence no longer depends on this module.
 */
import { Cause, Duration, Effect, Metric, Stream } from "effect"
import type { Scope } from "effect"
import { Condition } from "../../services/Condition.ts"
import * as Metrics from "../../services/Metrics.ts"
import { planMove, ScheduleRepository } from "../../services/ScheduleRepository.ts"

/** The interval while nothing is known to be due. Also the time until the schedules of a deactivated device end. */
const idle = Duration.seconds(15)

/** The wait after an outage of the database, or when another process was faster. */
const again = Duration.millis(500)

/** Maximum number of schedules moved concurrently. */
const concurrency = 4

export const make: Effect.Effect<void, never, ScheduleRepository | Scope.Scope> = Effect.gen(function*() {
  const schedules = yield* ScheduleRepository
  const work = new Condition()
  let changed = false

  const look = Effect.gen(function*() {
    yield* schedules.endInactive
    const { now, schedules: due, wait } = yield* schedules.due
    const moves = yield* Effect.forEach(due, (schedule) => {
      const move = planMove(schedule, now)
      return Effect.tap(schedules.advance(move), (moved) =>
        moved && move.skipped > 0
          ? Effect.andThen(
            Metric.update(Metrics.occurrencesSkipped, move.skipped),
            Effect.logWarning(
              "Occurrences of a schedule were left out, because nothing ran that could have stored them",
              {
                schedule: schedule.id,
                skipped: move.skipped
              }
            )
          )
          : Effect.void)
    }, { concurrency })
    // A moved schedule may be due again if it was behind.
    if (moves.length > 0) return moves.every(Boolean) ? Duration.zero : again
    return wait === null ? idle : Duration.min(idle, Duration.millis(Math.max(1, wait)))
  }).pipe(
    Effect.catchCause((cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.interrupt
        : Effect.as(Effect.logDebug("schedules could not be planned; tried again", cause), again)
    )
  )

  yield* Effect.forkScoped(Stream.runForEach(schedules.changes, () =>
    Effect.sync(() => {
      changed = true
      work.changed()
    })))
  yield* Effect.forkScoped(Effect.forever(Effect.gen(function*() {
    changed = false
    const wait = yield* look
    yield* Effect.timeoutOption(work.waitUntil(() => changed), wait)
  })))
})
