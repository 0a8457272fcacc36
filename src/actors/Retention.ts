/**
 * Keeps the log from growing for ever: now and then removes events older than is asked for. What a sink has not
 * confirmed stays, however old; message rows stay too.
 */
import { Clock, Duration, Effect, Schedule } from "effect"
import type { Scope } from "effect"
import { EventLog } from "../services/EventLog.ts"

/** Often enough that a day's events never go in one blow; seldom enough not to matter. */
const interval = Duration.minutes(10)

/** A start has better things to do; a process that restarts all the time never gets here, and need not. */
const firstAfter = Duration.minutes(1)

const retainOnce = Effect.fn("Retention.retain")(function*(keep: Duration.Duration) {
  const log = yield* EventLog
  const before = (yield* Clock.currentTimeMillis) - Duration.toMillis(keep)
  const removed = yield* log.retain(new Date(before))
  if (removed > 0) yield* Effect.logInfo("Removed old events from the log", { removed, keep: Duration.format(keep) })
}, Effect.catch((error) => Effect.logWarning("Old events could not be removed; tried again later", error)))

/** Runs with its scope. */
export const make = (keep: Duration.Duration): Effect.Effect<void, never, EventLog | Scope.Scope> =>
  retainOnce(keep).pipe(
    Effect.repeat(Schedule.spaced(interval)),
    Effect.delay(firstAfter),
    Effect.forkScoped,
    Effect.asVoid
  )
