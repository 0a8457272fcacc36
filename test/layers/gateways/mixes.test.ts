/**
 * The tables are the same whichever way the events of a conversation arrive: live, by webhook, from the history, in any mix
 * of these, in any order, repeated, and split into any batches.
 */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import * as fc from "fast-check"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { simulatedDialects } from "../../../src/simulator/Dialect.ts"
import { mixOf, mixSeeds } from "../../support/mixOf.ts"
import type { Delivery } from "../../support/mixOf.ts"
import { append, check, type Conversation, deliver, inOrder, summarise } from "../../support/mixes.ts"
import { propertyLimits } from "../../support/propertyLimits.ts"

const inMemory = (conversation: Conversation, batches: ReadonlyArray<ReadonlyArray<Delivery>>) =>
  Effect.provide(append(conversation, batches), MemoryStorage.layerMemory)

const ways = {
  bridge: ["backfill", "live"],
  gowa: ["backfill", "webhook"],
  waha: ["backfill", "live", "webhook"]
}

/** Two conversations per dialect, and of each as many mixes. */
const seeds = ["one", "two"]
const mixes = 20

describe.each(simulatedDialects)("a conversation on %s", (dialect) => {
  it.live.each(seeds)(
    "gives the same tables by any mix of its ways, in any order and pieces (%s)",
    (seed) =>
      Effect.gen(function*() {
        const conversation = yield* deliver(dialect, seed, 160)
        const { facts } = conversation
        const content = summarise(conversation)
        assert.deepStrictEqual(content.ways, ways[dialect])
        for (const kind of ["message.received", "message.sent", "message.ack", "message.edited"] as const) {
          assert.isTrue(content.kinds.has(kind), kind)
        }
        for (const count of [content.texts, content.files, content.addresses]) assert.isAbove(count, 0)
        const reference = yield* inMemory(conversation, inOrder(conversation))
        check(conversation, reference, reference)
        yield* Effect.promise((signal) =>
          fc.assert(
            fc.asyncProperty(mixSeeds, (mix) =>
              Effect.runPromise(
                Effect.map(
                  inMemory(conversation, mixOf(facts, mix)),
                  (tables) => check(conversation, tables, reference)
                ),
                { signal }
              )),
            propertyLimits(mixes)
          )
        )
      })
  )
})
