/** How often a failed message is retried, and when. Pure. */
import { Duration } from "effect"
import type { ConsumerSettings } from "../../services/ConsumerSettings.ts"
import type { Verdict } from "../../services/MessageInbox.ts"
import type { HandlerFailed } from "../../services/MessageHandler.ts"

/** A higher power of 2 exceeds every bound. */
const powerMax = 16

/** The wait after this number of attempts. */
export const retryDelay = (
  { retryAfterMax, retryMax, retryMin }: ConsumerSettings,
  attempts: number,
  retryAfter: Duration.Duration | null
): Duration.Duration => {
  const own = Duration.min(Duration.times(retryMin, 2 ** Math.min(attempts - 1, powerMax)), retryMax)
  return retryAfter === null ? own : Duration.max(own, Duration.min(retryAfter, retryAfterMax))
}

/** What happens to a message after its failure number `attempts`. */
export const judge =
  (settings: ConsumerSettings, { permanent, retryAfter }: Pick<HandlerFailed, "permanent" | "retryAfter">) =>
  (attempts: number): Verdict =>
    permanent || attempts >= settings.attemptsMax
      ? { _tag: "Dead" }
      : { _tag: "Again", after: retryDelay(settings, attempts, retryAfter) }
