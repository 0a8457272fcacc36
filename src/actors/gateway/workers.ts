/**
 * A few fibers that execute one task after another, and sleep while there is none. A defect in a task is logged and ends no
 * worker.
 */
import { Cause, Effect, Latch } from "effect"
import type { Scope } from "effect"
import type { GatewayName } from "../../domain/Ids.ts"

export interface WorkersOptions {
  readonly gateway: GatewayName
  /** Maximum number of concurrent tasks. */
  readonly concurrency: number
  /** The name of the task in the log line about a defect. */
  readonly work: string
  /** Takes the next task; null if there is none. */
  readonly next: () => Effect.Effect<void> | null
}

/** Returns a function that wakes the workers when there is a task. */
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
