import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Retention from "../../src/actors/Retention.ts"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import { EventLog } from "../../src/services/EventLog.ts"

const asked = Effect.fnUntraced(function*(answer: (call: number) => Effect.Effect<number, StorageUnavailable>) {
  const calls = yield* Ref.make<ReadonlyArray<number>>([])
  const log = {
    retain: (before: Date) =>
      Ref.updateAndGet(calls, (all) => [...all, before.getTime()]).pipe(Effect.flatMap((all) => answer(all.length)))
  } as unknown as EventLog["Service"]
  yield* Layer.build(Layer.effectDiscard(Retention.make(Duration.days(30)))).pipe(
    Effect.provideService(EventLog, log)
  )
  return { calls: Ref.get(calls) }
})

const day = Duration.toMillis(Duration.days(1))

describe("Retention", () => {
  it.effect("leaves a start in peace, then asks every ten minutes for what is older than it keeps", () =>
    Effect.gen(function*() {
      yield* TestClock.setTime(100 * day)
      const { calls } = yield* asked(() => Effect.succeed(1))
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(yield* calls, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* calls, [70 * day + 60_000])
      yield* TestClock.adjust("10 minutes")
      assert.lengthOf(yield* calls, 2)
    }))

  it.effect("goes on after a database that was away", () =>
    Effect.gen(function*() {
      const { calls } = yield* asked((call) =>
        call === 1 ? Effect.fail(StorageUnavailable.of("retain")) : Effect.succeed(0)
      )
      yield* TestClock.adjust("11 minutes")
      assert.lengthOf(yield* calls, 2)
    }))
})
