/** The database's time, as estimated by a process that can only ask for it. */
import { assert, it } from "@effect/vitest"
import { Clock, Context, Duration, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { DatabaseTime } from "../../../src/actors/fleet/DatabaseTime.ts"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { GapRepository } from "../../../src/services/GapRepository.ts"

it.effect("is not worse after an answer that took seconds, and follows a clock that was set", () =>
  Effect.gen(function*() {
    let ahead = Duration.toMillis("1 hour")
    let answersAfter = Duration.zero
    const gaps = Context.get(yield* Layer.build(MemoryStorage.layerMemory), GapRepository)
    const asked = GapRepository.of({
      ...gaps,
      now: Effect.gen(function*() {
        const shown = new Date((yield* Clock.currentTimeMillis) + ahead).toISOString()
        yield* Effect.sleep(answersAfter)
        return shown
      })
    })
    const context = yield* Layer.build(DatabaseTime.layer).pipe(Effect.provideService(GapRepository, asked))
    const error = Effect.map(
      Clock.currentTimeMillis,
      (now) => Math.abs(Context.get(context, DatabaseTime).now() - now - ahead)
    )
    assert.isAtMost(yield* error, 1)
    answersAfter = Duration.seconds(8)
    yield* TestClock.adjust("10 minutes")
    assert.isAtMost(yield* error, 1, "by half of the eight seconds otherwise")
    ahead += Duration.toMillis("1 day")
    yield* TestClock.adjust("2 minutes")
    assert.isAtMost(yield* error, 8000)
    answersAfter = Duration.zero
    yield* TestClock.adjust("2 minutes")
    assert.isAtMost(yield* error, 1)
  }))
