/**
 * Dead letters: listing, retrying, dropping. With a broker they are in its queue, without one in the inbox. None is
 * lost by a crash in between: at worst a message that is retried also stays among them, and its second delivery is
 * recognised as handled.
 */
import { Context, Effect, Layer, Schema } from "effect"
import type { DeadLetter, DeadLettersUnavailable } from "../domain/DeadLetter.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { EventId } from "../domain/Ids.ts"
import { MessageInbox } from "./MessageInbox.ts"

export type DeadLettersFailure = DeadLettersUnavailable | StorageUnavailable

/** Maximum number that one call changes or searches, because they are held in memory. */
export const deadLettersMax = 10_000

export class DeadLetters extends Context.Service<DeadLetters, {
  /** The oldest first, and how many there are. */
  readonly list: (
    limit: number
  ) => Effect.Effect<{ readonly items: ReadonlyArray<DeadLetter>; readonly total: number }, DeadLettersFailure>
  /** Null: all current dead letters, up to `deadLettersMax`. Answers which it were. */
  readonly retry: (ids: ReadonlyArray<string> | null) => Effect.Effect<ReadonlyArray<string>, DeadLettersFailure>
  readonly drop: (ids: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<string>, DeadLettersFailure>
}>()("columba/services/DeadLetters") {
  /** The dead letters of a consumer without a broker. */
  static readonly layerInbox: Layer.Layer<DeadLetters, never, MessageInbox> = Layer.effect(
    DeadLetters,
    Effect.gen(function*() {
      const inbox = yield* MessageInbox
      return DeadLetters.of({
        list: (limit) =>
          Effect.map(inbox.dead(limit), ({ items, total }) => ({
            total,
            items: items.map(({ at, attempts, eventId, handler, message, seq }) => ({
              id: eventId,
              kind: "message.received",
              deviceId: null,
              seq,
              reason: "attempts",
              queue: null,
              diedAt: at,
              failures: [{ handler, attempts, message, at }]
            }))
          })),
        retry: (ids) => inbox.revive(ids === null ? null : ids.filter(isEventId)),
        drop: (ids) => inbox.drop(ids.filter(isEventId))
      })
    })
  )
}

export const isEventId = Schema.is(EventId)
