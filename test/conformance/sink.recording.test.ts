/** The in-memory sink of the tests keeps the contract of a sink. */
import { Deferred, Effect } from "effect"
import { toWire } from "../../src/domain/Event.ts"
import { SinkUnavailable } from "../../src/services/EventSink.ts"
import * as RecordingSink from "../support/RecordingSink.ts"
import type { SinkHarness } from "./sink.ts"
import { sinkConformance } from "./sink.ts"

const name = "recording"

const lost = SinkUnavailable.of(name, "disconnected", "the connection was lost")

const make = Effect.sync((): SinkHarness => {
  let confirms: Deferred.Deferred<void, SinkUnavailable> = Deferred.makeUnsafe()
  let away = false
  Deferred.doneUnsafe(confirms, Effect.void)
  const { received, sink, waitUntil } = RecordingSink.make({
    name,
    overlap: 8,
    reach: Effect.suspend(() => away ? Effect.fail(lost) : Effect.void),
    confirm: () => Deferred.await(confirms)
  })
  return {
    sink,
    received: () => received.map((event) => ({ ...event, wire: toWire(event) })),
    waitUntil,
    hold: Effect.sync(() => {
      confirms = Deferred.makeUnsafe()
    }),
    cut: (after) =>
      Effect.suspend(() => {
        const held = confirms
        confirms = Deferred.makeUnsafe()
        Deferred.doneUnsafe(confirms, Effect.void)
        away = after === "away"
        return Deferred.fail(held, lost)
      })
  }
})

sinkConformance("in memory", make)
