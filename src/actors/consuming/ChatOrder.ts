/** Work on messages of one chat in the order in which it was given, and of several chats at once. */
import { Deferred, Effect } from "effect"

export class ChatOrder {
  /** What the next work on a chat waits for; a chat without work has none. */
  readonly #tails = new Map<string, Deferred.Deferred<void>>()

  run<A, E, R>(chat: string, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const before = this.#tails.get(chat)
      const done = Deferred.makeUnsafe<void>()
      this.#tails.set(chat, done)
      return (before === undefined ? work : Effect.andThen(Deferred.await(before), work)).pipe(
        Effect.ensuring(Effect.sync(() => {
          Deferred.doneUnsafe(done, Effect.void)
          if (this.#tails.get(chat) === done) this.#tails.delete(chat)
        }))
      )
    })
  }
}
