/**
 * Signals to long-lived answers that the server is about to stop. Streams then end and their clients reconnect
 * elsewhere at once, instead of delaying the shutdown until its time is over.
 */
import { Context, Effect, Latch, Layer } from "effect"

export class Draining extends Context.Service<Draining, {
  readonly begin: Effect.Effect<void>
  /** Returns once the server is about to stop. */
  readonly begun: Effect.Effect<void>
  readonly hasBegun: () => boolean
}>()("columba/http/Draining") {
  static readonly layer = Layer.sync(Draining, () => {
    const latch = Latch.makeUnsafe(false)
    let draining = false
    return Draining.of({
      begin: Effect.suspend(() => {
        draining = true
        return Effect.asVoid(latch.open)
      }),
      begun: latch.await,
      hasBegun: () => draining
    })
  })
}
