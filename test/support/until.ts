/**
 * Waits for a condition that nothing announces, because it is that of another process, a server or a file: it is asked
 * again and again. The error names the condition. What this process can announce is waited for instead.
 */
import { Duration, Effect, Schedule } from "effect"

/** Short enough not to lengthen a run, long enough not to load the machine. */
const askAgain = Schedule.spaced("25 millis")

/** Far above what any of it takes on a loaded machine: whoever waits longer waits for nothing. */
const waitMax = Duration.seconds(60)

export const until = <E, R>(
  what: string,
  condition: Effect.Effect<boolean, E, R>,
  within: Duration.Input = waitMax
): Effect.Effect<void, never, R> =>
  Effect.flatMap(condition, (holds) => holds ? Effect.void : Effect.fail("not yet")).pipe(
    Effect.retry(askAgain),
    Effect.orDie,
    Effect.timeoutOrElse({
      duration: within,
      orElse: () => Effect.die(new Error(`Waited without success until ${what}`))
    })
  )
