/**
 * Keeps appends to a long log as cheap as to a short one: periodically merges the identities by which repeats are
 * recognised.
 */
import { Duration, Effect, Schedule } from "effect"
import type { Scope } from "effect"
import { EventLog } from "../../services/EventLog.ts"

/** A burst of some thousand events per second fills one generation in a minute or two, and a check costs one statement. */
const interval = Duration.minutes(1)

const mergeOnce = Effect.flatMap(EventLog, (log) => log.mergeIdentities).pipe(
  Effect.tap((count) =>
    count === 0 ? Effect.void : Effect.logInfo("Merged identities, so that appends stay cheap", { count })
  ),
  Effect.catch((error) => Effect.logWarning("Identities could not be merged; tried again later", error))
)

/** Runs with its scope. A start has more urgent work, so the first check comes after one interval. */
export const make: Effect.Effect<void, never, EventLog | Scope.Scope> = mergeOnce.pipe(
  Effect.repeat(Schedule.spaced(interval)),
  Effect.delay(interval),
  Effect.forkScoped,
  Effect.asVoid
)
