/** Runs work on messages of one chat in the order of the calls, and work on different chats concurrently. */
import { Deferred, Effect } from "effect"

export class ChatOrder {
  /** Done when the last work on a chat is done; a chat without work has no entry. */
  readonly #tails = new Map<string, Deferred.Deferred<void>>()

  run<A, E, R>(chat: string, work: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> {
    return Effect.suspend(() => {
      const before = this.#tails.get(chat)
      const done = Deferred.makeUnsafe<void>()
      this.#tails.set(chat, done)
      const end = Effect.sync(() => {
        Deferred.doneUnsafe(done, Effect.void)
        if (this.#tails.get(chat) === done) this.#tails.delete(chat)
      })
      if (before === undefined) return Effect.ensuring(work, end)
      let begun = false
      const begin = Effect.suspend(() => {
        begun = true
        return work
      })
      // Interrupted while it waits: later work must still wait for the work before it.
      const leave = Effect.suspend(() =>
        begun ? end : Effect.asVoid(Effect.forkDetach(Effect.andThen(Deferred.await(before), end)))
      )
      return Effect.ensuring(Effect.andThen(Deferred.await(before), begin), leave)
    })
  }
}
