/**
 * How the consumer processes an incoming message: the port of handlers.
 *
 * A handler works in two steps. `handle` may take long, call others and be repeated: after a crash, a lost connection
 * or a failure of another handler the message comes again. Its result is the commit, which runs in one transaction
 * with the record that this handler has handled this message. So whatever the commit writes to the database is there
 * exactly once, however often the message is delivered. Effects of `handle` elsewhere may happen twice: pass the
 * event's id to the other side as its idempotency key.
 */
import { Schema } from "effect"
import type { Duration, Effect } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Event } from "../domain/Event.ts"

export type MessageReceived = Extract<Event, { readonly kind: "message.received" }>

export type HandlerFailure = HandlerFailed | StorageUnavailable

export interface MessageHandler {
  /** Handled messages are recorded under this name. With another name, messages that come again are handled again. */
  readonly name: string
  readonly handle: (event: MessageReceived) => Effect.Effect<Effect.Effect<void, HandlerFailure>, HandlerFailure>
}

/** Maximum length of a stored failure message. */
const messageMax = 500

/**
 * The handler failed. It is retried, at first after a second and then less often, until the message is a dead letter;
 * at once if the failure is `permanent`. `retryAfter`: minimum time before the next attempt.
 */
export class HandlerFailed extends Schema.TaggedError<HandlerFailed>()("HandlerFailed", {
  message: Schema.String,
  permanent: Schema.Boolean,
  retryAfter: Schema.NullOr(Schema.DurationFromMillis)
}) {
  static of(
    message: string,
    options: { readonly permanent?: boolean; readonly retryAfter?: Duration.Duration | null } = {}
  ): HandlerFailed {
    return new HandlerFailed({
      message: message.slice(0, messageMax),
      permanent: options.permanent ?? false,
      retryAfter: options.retryAfter ?? null
    })
  }
}
