/** How many streams this process may have open, over HTTP and RPC together: one bound, because one memory pays. */
import { Context, Effect, Layer } from "effect"
import type { Scope } from "effect"
import { TooManyStreams } from "../contracts/Failures.ts"

/**
 * Each holds up to one page of events while its client is slow: some hundred KiB, rarely a few MiB. Dashboards and
 * integrations need tens.
 */
export const openStreamsMax = 1000

export class OpenStreams extends Context.Service<OpenStreams, {
  /** Takes a place until the scope closes. */
  readonly admit: Effect.Effect<void, TooManyStreams, Scope.Scope>
}>()("columba/http/OpenStreams") {
  static readonly layer = Layer.sync(OpenStreams, () => {
    let open = 0
    const take = Effect.suspend(() => {
      if (open >= openStreamsMax) return Effect.fail(TooManyStreams.of(openStreamsMax))
      open++
      return Effect.void
    })
    const giveBack = Effect.sync(() => {
      open--
    })
    return OpenStreams.of({ admit: Effect.acquireRelease(take, () => giveBack) })
  })
}
