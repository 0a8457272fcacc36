/** Waits for a condition of another process, which can only be asked. Says what it waited for when it gives up. */
import { Effect, Schedule } from "effect"
import type { Duration } from "effect"

/** Often enough not to lengthen a run, rare enough not to be load. */
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
      orElse: () => Effect.die(new Error(`Waited in vain until ${what}`))
    })
  )
