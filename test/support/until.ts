/**
 * Waits for a condition that nothing announces, because it belongs to another process, a server or a file, by polling.
 * The error names the condition. Conditions that this process can announce are awaited instead.
 */
import { Duration, Effect, Schedule } from "effect"

/** Short enough not to lengthen a run, long enough not to load the machine. */
const askAgain = Schedule.spaced("25 millis")

/** Far longer than any of these conditions takes on a loaded machine. */
const waitMax = Duration.seconds(120)

/** The first value for which the condition holds. */
export const untilSo = <A, E, R>(
  what: string,
  look: Effect.Effect<A, E, R>,
  so: (value: A) => boolean,
  within: Duration.Input = waitMax
): Effect.Effect<A, E, R> =>
  Effect.repeat(look, { schedule: askAgain, until: so }).pipe(
    Effect.timeoutOrElse({
      duration: within,
      orElse: () => Effect.die(new Error(`Waited without success until ${what}`))
    })
  )

export const until = <E, R>(
  what: string,
  condition: Effect.Effect<boolean, E, R>,
  within: Duration.Input = waitMax
): Effect.Effect<void, never, R> => Effect.asVoid(Effect.orDie(untilSo(what, condition, (holds) => holds, within)))
