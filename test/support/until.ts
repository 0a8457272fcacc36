/**
 * Waits for a condition that nothing announces, because it is that of another process, a server or a file: it is asked
 * again and again. The error names the condition. What this process can announce is waited for instead.
 */
import { Duration, Effect, Schedule } from "effect"

/** Short enough not to lengthen a run, long enough not to load the machine. */
const askAgain = Schedule.spaced("25 millis")

/** Far above what any of it takes on a loaded machine: a longer wait is a wait for nothing. */
const waitMax = Duration.seconds(120)

/** The first value for which it is so. */
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
