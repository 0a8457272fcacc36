/**
 * Warnings that strangers can cause without limit, at a bounded rate: the first at once, and then one per interval
 * with the number of suppressed ones.
 */
import { Clock, Duration, Effect } from "effect"
import { monotonicMillis } from "./monotonic.ts"

/** Often enough to be seen while it happens. */
const interval = Duration.seconds(10)

/** Keys are Columba's own names, so there are few. The bound guards against a mistake in that. */
const keysMax = 1000

export class RepeatedWarnings {
  readonly #warned = new Map<string, { at: number; leftOut: number }>()

  /** Warnings with the same `key` count as repeats. */
  warn(key: string, message: string, annotations: Readonly<Record<string, unknown>>): Effect.Effect<void> {
    return Effect.flatMap(Clock.Clock, (clock) => {
      const now = monotonicMillis(clock)
      const last = this.#warned.get(key)
      if (last !== undefined && now - last.at < Duration.toMillis(interval)) {
        last.leftOut++
        return Effect.void
      }
      if (this.#warned.size >= keysMax) this.#warned.clear()
      this.#warned.set(key, { at: now, leftOut: 0 })
      const { leftOut = 0 } = last ?? {}
      return Effect.logWarning(message).pipe(
        Effect.annotateLogs(leftOut === 0 ? annotations : { ...annotations, leftOut })
      )
    })
  }
}
