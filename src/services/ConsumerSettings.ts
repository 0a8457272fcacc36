/** How messages that failed are tried again, and how long a handler has. */
import { Context, Duration } from "effect"

export interface ConsumerSettings {
  /** Some minutes of attempts: the restart of another service lies within, and its outage is for an operator to know. */
  readonly attemptsMax: number
  /** After the first failure; doubled by each that follows. */
  readonly retryMin: Duration.Duration
  readonly retryMax: Duration.Duration
  /** Whoever asks for more patience is not followed: a message holds a place among those that are in flight. */
  readonly retryAfterMax: Duration.Duration
  /** A handler that calls others is given their time and more; then it has failed. `COLUMBA_HANDLER_TIMEOUT`. */
  readonly handlerTimeout: Duration.Duration
  /**
   * Of what it writes. Less than the ten seconds after which the database ends a session that does nothing in its transaction: then
   * it could not be rolled back any more.
   */
  readonly commitTimeout: Duration.Duration
  /**
   * A message that was delivered so long ago goes back to the broker, whatever it waits for. Brokers close the channel of a
   * consumer that holds one for 30 minutes, and then all that it holds has been delivered once more.
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
