/** How failed messages are retried, and how long a handler has. */
import { Context, Duration } from "effect"

export interface ConsumerSettings {
  /** Some minutes of attempts: enough for a restart of another service; a longer outage concerns an operator. */
  readonly attemptsMax: number
  /** The wait after the first failure; doubled by each further one. */
  readonly retryMin: Duration.Duration
  readonly retryMax: Duration.Duration
  /** Maximum wait that a handler can request: a waiting message occupies a place among those in flight. */
  readonly retryAfterMax: Duration.Duration
  /** Long enough for a handler that calls other services; after this time it has failed. `COLUMBA_HANDLER_TIMEOUT`. */
  readonly handlerTimeout: Duration.Duration
  /**
   * Maximum time for the handler's writes. Less than the ten seconds after which the database ends a session that is
   * idle in its transaction: a rollback would then be impossible.
   */
  readonly commitTimeout: Duration.Duration
  /**
   * Maximum time that a message is held before it returns to the broker, whatever it waits for. Brokers close the
   * channel of a consumer that holds one for 30 minutes, and then all that it holds is delivered again.
   */
  readonly holdMax: Duration.Duration
}

export const ConsumerSettings = Context.Reference<ConsumerSettings>("columba/services/ConsumerSettings", {
  defaultValue: () => ({
    attemptsMax: 10,
    retryMin: Duration.seconds(1),
    retryMax: Duration.minutes(1),
    retryAfterMax: Duration.minutes(5),
    handlerTimeout: Duration.minutes(2),
    commitTimeout: Duration.seconds(8),
    holdMax: Duration.minutes(25)
  })
})
