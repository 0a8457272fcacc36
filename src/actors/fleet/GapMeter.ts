/** Reports how many gaps are open, as counted by the database: gaps that an earlier process left open are included. */
import { Duration, Effect, Metric } from "effect"
import type { Scope } from "effect"
import { gapCauses } from "../../domain/Gap.ts"
import { GapRepository } from "../../services/GapRepository.ts"
import * as Metrics from "../../services/Metrics.ts"

/** More frequent than metric scrapes; the count reads only an index of the open gaps. */
const interval = Duration.seconds(10)

export const make: Effect.Effect<void, never, GapRepository | Scope.Scope> = Effect.gen(function*() {
  const ledger = yield* GapRepository
  const report = Effect.gen(function*() {
    const counts = yield* ledger.countOpen
    for (const cause of gapCauses) {
      yield* Metric.update(Metric.withAttributes(Metrics.gapsOpen, { cause }), counts[cause] ?? 0)
    }
  }).pipe(Effect.ignore)
  yield* Effect.forkScoped(Effect.forever(Effect.andThen(report, Effect.sleep(interval))))
})
