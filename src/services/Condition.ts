/**
 * A condition variable: fibers wait until a predicate over plain fields holds, and the code that changes the fields
 * calls `changed`. That code evaluates the predicates, so a change that satisfies none of the waiting fibers wakes
 * none of them. This is why it is not a `Latch`, which would wake a fiber for each event.
 */
import { Effect } from "effect"

export class Condition {
  readonly #looks = new Set<() => void>()

  /** How many fibers wait. */
  get waiting(): number {
    return this.#looks.size
  }

  /** Returns once `ready` holds: at once if it does already, otherwise after the first `changed` at which it does. */
  waitUntil(ready: () => boolean): Effect.Effect<void> {
    const wait = Effect.callback<void>((resume) => {
      // Checked again, because a fiber may have yielded to others since.
      if (ready()) return resume(Effect.void)
      const look = () => {
        if (!ready()) return
        this.#looks.delete(look)
        resume(Effect.void)
      }
      this.#looks.add(look)
      return Effect.sync(() => this.#looks.delete(look))
    })
    return Effect.suspend(() => ready() ? Effect.void : wait)
  }

  /** The fields have changed. */
  changed(): void {
    for (const look of this.#looks) look()
  }
}
