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
  /** How many runs may be out at a time, handed over in order but not yet confirmed. Absent: one after another. */
  readonly overlap?: number | undefined
  /**
   * Hands over a run of events in order. Succeeds only when every one is confirmed by the other side. After a failure
   * the relay waits and offers everything again from the first event that is not confirmed, under a higher `attempt`;
   * the other side may then see some of it twice.
   *
   * With overlap: once one run of an attempt has failed, all others of that attempt fail too and nothing more of them
   * is sent, so that nothing overtakes what is offered again. The relay opens an attempt with one run alone and offers
   * the second only when that one is confirmed.
   */
  readonly publish: (events: ReadonlyArray<LoggedEvent>, attempt: number) => Effect.Effect<void, SinkUnavailable>
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
