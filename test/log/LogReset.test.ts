/** A log that was reset and has grown again before anything noticed: none of its events are skipped. */
import { assert, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Stream } from "effect"
import * as SinkRelay from "../../src/actors/delivery/SinkRelay.ts"
import { positionAfter } from "../../src/domain/Ids.ts"
import { EventLog } from "../../src/services/EventLog.ts"
import { SinkUnavailable } from "../../src/services/EventSink.ts"
import * as RecordingSink from "../support/RecordingSink.ts"
import { freshDevice, messageDraft } from "../support/drafts.ts"
import { makeLogs } from "../support/logsOverOneStore.ts"
import { until } from "../support/until.ts"

const device = freshDevice()

const say = (log: EventLog["Service"], count: number) =>
  log.append(Array.from({ length: count }, () => messageDraft({ device })))

/** A reader that has everything up to 15, and a log into which another process has written `more` new events. */
const grownAgain = Effect.fnUntraced(function*(more: number) {
  const { goBack, other, ours } = yield* makeLogs
  yield* say(ours, 15)
  const ready = yield* Deferred.make<void>()
  const seen: Array<number> = []
  const reader = yield* Effect.forkChild(Effect.flip(
    Stream.runForEach(ours.follow({ after: 0 }), ({ events }) => {
      for (const { seq } of events) seen.push(seq)
      return seen.length === 15 ? Deferred.succeed(ready, undefined) : Effect.void
    })
  ))
  yield* Deferred.await(ready)
  goBack(10)
  yield* say(other, more)
  yield* say(ours, 1)
  const ended = yield* Effect.timeout(Fiber.join(reader), "5 seconds")
  assert.strictEqual(ended._tag, "LogReset")
  assert.strictEqual(seen.length, 15)
})

it.live(
  "recognises a reset log that has grown past the known head before this process writes",
  () => grownAgain(20)
)

it.live(
  "recognises a reset log that has grown to exactly the known head by this process's next write",
  () => grownAgain(5)
)

it.live("recognises a reset log that has grown to exactly the known head when the head is read", () =>
  Effect.gen(function*() {
    const { goBack, other, ours } = yield* makeLogs
    yield* say(ours, 15)
    const begun = yield* Deferred.make<void>()
    const reader = yield* Effect.forkChild(Effect.flip(
      Stream.runForEach(ours.follow({ after: 14 }), () => Deferred.succeed(begun, undefined))
    ))
    yield* Deferred.await(begun)
    goBack(10)
    yield* say(other, 5)
    const { head, headId } = yield* ours.bounds
    const ended = yield* Fiber.join(reader)
    assert.deepInclude(ended, { _tag: "LogReset", head: positionAfter(head, headId) })
    assert.strictEqual(head, 15)
  }))

it.live(
  "delivers all new events to a sink that was away while the log was reset and grew again",
  () =>
    Effect.gen(function*() {
      const { goBack, ours } = yield* makeLogs
      let away = false
      const { received, sink, waitUntil } = RecordingSink.make({
        reach: Effect.suspend(() =>
          away ? Effect.fail(SinkUnavailable.of("recording", "disconnected", "it is away")) : Effect.void
        )
      })
      const relay = yield* SinkRelay.make(sink).pipe(Effect.provideService(EventLog, ours))
      yield* say(ours, 10)
      yield* waitUntil(() => received.length === 10)
      yield* until("the cursor is durable", Effect.map(ours.cursors, ([cursor]) => cursor?.seq === 10))
      yield* say(ours, 5)
      yield* waitUntil(() => received.length === 15)
      away = true
      yield* say(ours, 1)
      yield* until("the relay has found its sink away", Effect.map(relay.view, ({ failure }) => failure !== null))
      goBack(10)
      yield* say(ours, 20)
      away = false
      yield* waitUntil(() => received.at(-1)?.seq === 30)
      const seqs = received.slice(15).map(({ seq }) => seq)
      assert.deepStrictEqual(seqs, Array.from({ length: 20 }, (_, index) => index + 11))
    })
)
