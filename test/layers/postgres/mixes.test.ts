/** Like `test/layers/gateways/mixes.test.ts` for the store in memory: the tables do not depend on how events arrive. */
import { it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { simulatedDialects } from "../../../src/simulator/Dialect.ts"
import { append, check, deliver, inOrder } from "../../support/mixes.ts"
import { mixOf } from "../../support/mixOf.ts"
import { layerFreshPostgres } from "../../support/storage.ts"

const mixes = [
  { seed: 2, repeats: 0.7, piece: 200 },
  { seed: 3, repeats: 0.3, piece: 7 }
]

it.live.each(simulatedDialects)(
  "a conversation on %s has the same tables in Postgres by any mix of its ways",
  (dialect) =>
    Effect.gen(function*() {
      const conversation = yield* deliver(dialect, "postgres", 160)
      const store = (batches: Parameters<typeof append>[1]) =>
        Effect.scoped(Effect.provide(append(conversation, batches), Layer.fresh(layerFreshPostgres)))
      const reference = yield* store(inOrder(conversation))
      check(conversation, reference, reference)
      for (const mix of mixes) check(conversation, yield* store(mixOf(conversation.facts, mix)), reference)
    })
)
