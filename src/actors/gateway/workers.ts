/**
 * A few fibers that do one piece of work after another, and sleep while there is none. A defect in one piece is logged
 * and ends no worker.
 */
import { Cause, Effect, Latch } from "effect"
import type { Scope } from "effect"
import type { GatewayName } from "../../domain/Ids.ts"

export interface WorkersOptions {
  readonly gateway: GatewayName
  /** So many pieces are under way at most. */
  readonly concurrency: number
  /** Of the log line about a defect: what crashed. */
  readonly work: string
  /** Takes the next piece; null where there is none. */
  readonly next: () => Effect.Effect<void> | null
}

/** Returns what tells the workers that there is something to do. */
export const make = Effect.fnUntraced(function*(
  { concurrency, gateway, next, work }: WorkersOptions
): Effect.fn.Return<() => void, never, Scope.Scope> {
  const someWork = Latch.makeUnsafe()
  const worker = Effect.suspend(() => {
    const piece = next()
    if (piece === null) {
      someWork.closeUnsafe()
      return someWork.await
    }
    return Effect.catchCause(piece, (cause) =>
      Cause.hasInterruptsOnly(cause)
        ? Effect.failCause(cause)
        : Effect.annotateLogs(Effect.logError(`${work} crashed`, cause), { gateway }))
  })
  for (let place = 0; place < concurrency; place++) yield* Effect.forkScoped(Effect.forever(worker))
  return () => {
    someWork.openUnsafe()
  }
})
