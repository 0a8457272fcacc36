/**
 * A reader of the log with a durable cursor. The relay (`actors/delivery/SinkRelay`) reads the log, calls `publish`
 * and moves the cursor. A sink only exports batches of events and reports when they are confirmed.
 */
import { Schema } from "effect"
import type { Effect } from "effect"
import type { LoggedEvent } from "../domain/Event.ts"

export interface EventSink {
  /** The name of the cursor. It must never change. */
  readonly name: string
  /** Maximum number of batches in flight: published in order and not yet confirmed. Absent: one at a time. */
  readonly overlap?: number | undefined
  /**
   * Exports a batch of events in order. Succeeds only when the other side has confirmed every one. After a failure the
   * relay waits and offers everything again from the first event that is not confirmed, under a higher `attempt`; the
   * other side may then get some events twice.
   *
   * With overlap: once one batch of an attempt has failed or was interrupted, all others in flight of that attempt
   * fail too and nothing more of the attempt is sent, so that nothing overtakes the events offered again. The relay
   * starts an attempt with one batch and publishes the second only when the first is confirmed.
   */
  readonly publish: (events: ReadonlyArray<LoggedEvent>, attempt: number) => Effect.Effect<void, SinkUnavailable>
}

/**
 * The other side did not accept the batch. The relay retries without limit, because the log keeps the events.
 * `disconnected`: no connection, or it was lost · `blocked`: the other side does not read for the moment ·
 * `confirm-timeout`: sent, and no answer in time · `rejected`: refused, which only an operator can change ·
 * `unroutable`: the destination of the events does not exist.
 */
export class SinkUnavailable extends Schema.TaggedError<SinkUnavailable>()("SinkUnavailable", {
  message: Schema.String,
  sink: Schema.String,
  reason: Schema.Literals(["disconnected", "blocked", "confirm-timeout", "rejected", "unroutable"])
}) {
  static of(sink: string, reason: SinkUnavailable["reason"], detail: string): SinkUnavailable {
    return new SinkUnavailable({ sink, reason, message: `Sink '${sink}' is not taking events (${reason}): ${detail}` })
  }
}
