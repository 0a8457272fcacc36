/**
 * What the consumer does with an incoming message: the port of handlers.
 *
 * A handler works in two steps. `handle` may take long, call others and be repeated: a crash, a lost connection or a
 * failure of another handler bring the message again. What it returns is the commit, which is run in one transaction
 * with the note that this handler has handled this message. So whatever the commit writes to the database is there
 * exactly once, however often the message is delivered. What `handle` does elsewhere may happen twice: give the other
 * side the event's id as its idempotency key.
 */
import { Schema } from "effect"
import type { Duration, Effect } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Event } from "../domain/Event.ts"

export type MessageReceived = Extract<Event, { readonly kind: "message.received" }>

export type HandlerFailure = HandlerFailed | StorageUnavailable

export interface MessageHandler {
  /** Under this name it is noted what was handled. With another name, messages that come again are handled again. */
  readonly name: string
  readonly handle: (event: MessageReceived) => Effect.Effect<Effect.Effect<void, HandlerFailure>, HandlerFailure>
}

/** The longest word on a failure that is kept. */
const messageMax = 500

/**
 * The handler could not do it. It is tried again, at first after a second and then less often, and at last it is a dead
 * letter; at once where it is `permanent`. `retryAfter`: no attempt before.
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
