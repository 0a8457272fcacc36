/**
 * Waits for a condition of another process, which has no event to wait for: it is asked again and again. The error
 * names the condition.
 */
import { Effect, Schedule } from "effect"
import type { Duration } from "effect"

/** Short enough not to lengthen a run, long enough not to load the machine. */
const askAgain = Schedule.spaced("25 millis")

export const until = (
  what: string,
  condition: Effect.Effect<boolean>,
  within: Duration.Input = "60 seconds"
): Effect.Effect<void> =>
  Effect.flatMap(condition, (holds) => holds ? Effect.void : Effect.fail("not yet")).pipe(
    Effect.retry(askAgain),
    Effect.orDie,
    Effect.timeoutOrElse({
      duration: within,
      orElse: () => Effect.die(new Error(`Waited without success until ${what}`))
    })
  )
