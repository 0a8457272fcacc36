/**
 * Keeps the log from growing for ever: now and then removes events older than is asked for. What a sink has not
 * confirmed stays, however old, and who holds it back is named; message rows stay too.
 */
import { Clock, Duration, Effect, Schedule } from "effect"
import type { Scope } from "effect"
import { EventLog } from "../../services/EventLog.ts"

/** Often enough that a day's events never go in one blow; seldom enough not to matter. */
const interval = Duration.minutes(10)

/** A start has better things to do; a process that restarts all the time never gets here, and need not. */
const firstAfter = Duration.minutes(1)

/** Who keeps an event from going that is older than asked for: the sinks that have not confirmed it. Null: nobody. */
const heldBack = Effect.fnUntraced(function*(log: EventLog["Service"], before: number) {
  const { head, oldest } = yield* log.bounds
  if (oldest > head) return null
  const [event] = (yield* log.read({ after: oldest - 1, limit: 1 })).events
  if (event === undefined || Date.parse(event.recordedAt) >= before) return null
  const behind = (yield* log.cursors).filter(({ seq }) => seq < event.seq)
  return behind.length === 0 ? null : { oldest, since: event.recordedAt, behind }
})

/** A sink that is not there any more, or away for long, would otherwise let the log grow in silence. */
const makeWarning = () => {
  let said = "{}"
  return Effect.fnUntraced(function*(log: EventLog["Service"], before: number) {
    const held = yield* heldBack(log, before)
    const sinks = Object.fromEntries((held?.behind ?? []).map(({ seq, sink }) => [sink, seq]))
    const saying = JSON.stringify(sinks)
    if (saying === said) return
    said = saying
    if (held === null) return yield* Effect.logInfo("No sink holds back old events any more")
    yield* Effect.logWarning(
      "A sink holds back events older than the log should keep; if it is gone for good, delete its row in sink_cursors",
      { confirmed: sinks, oldest: held.oldest, since: held.since }
    )
  }, Effect.catch((error) => Effect.logDebug("What holds back old events could not be read", error)))
}

const deleteOnce = Effect.fn("Retention.retain")(
  function*(keep: Duration.Duration, warn: ReturnType<typeof makeWarning>) {
    const log = yield* EventLog
    const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(keep)
    const removed = yield* log.deleteBefore(new Date(before))
    if (removed > 0) yield* Effect.logInfo("Removed old events from the log", { removed, keep: Duration.format(keep) })
    yield* warn(log, before)
  },
  Effect.catch((error) => Effect.logWarning("Old events could not be removed; tried again later", error))
)

/** Runs with its scope. */
export const make = (keep: Duration.Duration): Effect.Effect<void, never, EventLog | Scope.Scope> =>
  deleteOnce(keep, makeWarning()).pipe(
    Effect.repeat(Schedule.spaced(interval)),
    Effect.delay(firstAfter),
    Effect.forkScoped,
    Effect.asVoid
  )
