/**
 * A reader of the log with a durable cursor. The relay (`actors/SinkRelay`) reads, hands over and moves the cursor;
 * a sink only says how a run of events leaves the house and when it has truly left.
 */
import { Schema } from "effect"
import type { Effect } from "effect"
import type { LoggedEvent } from "../domain/Event.ts"

export interface EventSink {
  /** Stable: the cursor's name. */
  readonly name: string
  /**
   * Hands over a run of events in order. Succeeds only when every one is confirmed by the other side. After a failure
   * the relay waits and offers the run again from the first event; the other side may then see some of it twice.
   */
  readonly publish: (events: ReadonlyArray<LoggedEvent>) => Effect.Effect<void, SinkUnavailable>
}

/** The other side did not take the run. `retryable` never ends: the log waits for it. */
export class SinkUnavailable extends Schema.TaggedError<SinkUnavailable>()("SinkUnavailable", {
  message: Schema.String,
  sink: Schema.String,
  reason: Schema.Literals(["disconnected", "blocked", "confirm-timeout", "rejected", "unroutable"])
}) {
  static of(sink: string, reason: SinkUnavailable["reason"], detail: string): SinkUnavailable {
    return new SinkUnavailable({ sink, reason, message: `Sink '${sink}' is not taking events (${reason}): ${detail}` })
  }
}
