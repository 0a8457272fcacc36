/**
 * Keeps the log from growing forever: periodically deletes events that are older than the retention, with their messages,
 * statuses and identities, and gaps and sent messages of the same age. Events that a sink has not confirmed stay, however
 * old, and a warning names that sink.
 */
import { Clock, Duration, Effect, Schedule } from "effect"
import type { Scope } from "effect"
import { EventLog } from "../../services/EventLog.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import { SendRepository } from "../../services/SendRepository.ts"

/** Often enough that each round deletes little; seldom enough that its cost does not matter. */
const interval = Duration.minutes(10)

/** A start has more urgent work. A process that restarts constantly never reaches it, which does no harm. */
const firstAfter = Duration.minutes(1)

/** Rounds are late when the database was unavailable or slow, and clocks are corrected by minutes. */
const stepSlack = Duration.hours(1)

/** Long enough that an operator reads the warning, short enough that a log does not fill a disk after a long pause. */
const refusedFor = Duration.hours(6)

/** Longer than the age of any log. */
const stepUnbounded = Duration.days(36_500)

/** The sinks that hold back events older than the retention, because they have not confirmed them. Null: none. */
const heldBack = Effect.fnUntraced(function*(log: EventLog["Service"], before: number) {
  const { head, oldest } = yield* log.bounds
  if (oldest > head) return null
  const [event] = (yield* log.read({ after: oldest - 1, limit: 1 })).events
  if (event === undefined || Date.parse(event.recordedAt) >= before) return null
  const behind = (yield* log.cursors).filter(({ limited, seq }) => !limited && seq < event.seq)
  return behind.length === 0 ? null : { oldest, since: event.recordedAt, behind }
})

/** Without it, a sink that was removed, or is unavailable for long, would let the log grow unnoticed. */
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
  }, Effect.catch((error) => Effect.logDebug("The sinks that hold back old events could not be read", error)))
}

/**
 * How much time may have passed since the last round, by the database's clock: the time that has passed here by the
 * monotonic clock, plus some slack. A larger step means that a clock jumped, or that no process ran for some time. The two
 * look alike, so the step is refused until the clock has run steadily for a while: a jump is noticed and corrected, and a
 * pause is made up for.
 */
const makeStepMax = (clock: Clock.Clock) => {
  let lastDeletedAt = clock.monotonicTimeNanosUnsafe()
  let refusedSince: bigint | null = null
  return {
    read: (): Duration.Duration => {
      const now = clock.monotonicTimeNanosUnsafe()
      const accepted = refusedSince !== null && now - refusedSince >= Duration.toNanosUnsafe(refusedFor)
      return accepted ? stepUnbounded : Duration.sum(Duration.nanos(now - lastDeletedAt), stepSlack)
    },
    deleted: () => {
      lastDeletedAt = clock.monotonicTimeNanosUnsafe()
      refusedSince = null
    },
    /** Whether it is the first refusal in a row. */
    refused: (): boolean => {
      const first = refusedSince === null
      refusedSince ??= clock.monotonicTimeNanosUnsafe()
      return first
    }
  }
}

const deleteOnce = Effect.fn("Retention.deleteOnce")(
  function*(keep: Duration.Duration, stepMax: ReturnType<typeof makeStepMax>, warn: ReturnType<typeof makeWarning>) {
    const log = yield* EventLog
    const deletion = yield* log.deleteOlderThan(keep, { stepMax: stepMax.read() })
    if (deletion._tag === "Refused") {
      if (!stepMax.refused()) return
      return yield* Effect.logWarning(
        "More time has passed since the last retention than this process can explain: old events stay for now. " +
          `If the database's clock is right, do nothing: retention continues in ${Duration.format(refusedFor)}`,
        { elapsed: Duration.format(deletion.elapsed) }
      )
    }
    stepMax.deleted()
    const { count } = deletion
    const gaps = yield* (yield* GapRepository).deleteOlderThan(keep)
    const sends = yield* (yield* SendRepository).deleteOlderThan(keep)
    if (sends > 0) yield* Effect.logInfo("Deleted old messages that were sent", { count: sends })
    if (gaps > 0) yield* Effect.logInfo("Deleted old gaps of the ledger", { count: gaps, keep: Duration.format(keep) })
    if (count > 0) yield* Effect.logInfo("Deleted old events of the log", { count, keep: Duration.format(keep) })
    yield* warn(log, (yield* Clock.currentTimeMillis) - Duration.toMillis(keep))
  },
  Effect.catch((error) => Effect.logWarning("Old events could not be deleted; tried again later", error))
)

/** Runs with its scope. */
export const make = (
  keep: Duration.Duration
): Effect.Effect<void, never, EventLog | GapRepository | SendRepository | Scope.Scope> =>
  Effect.flatMap(Clock.Clock, (clock) =>
    deleteOnce(keep, makeStepMax(clock), makeWarning()).pipe(
      Effect.repeat(Schedule.spaced(interval)),
      Effect.delay(firstAfter),
      Effect.forkScoped,
      Effect.asVoid
    ))
