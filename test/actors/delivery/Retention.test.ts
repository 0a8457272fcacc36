import { assert, describe, it } from "@effect/vitest"
import { Clock, Duration, Effect, Layer, Logger, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as Retention from "../../../src/actors/delivery/Retention.ts"
import { DeviceId } from "../../../src/domain/Ids.ts"
import { StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import type { CursorClaim, Deletion } from "../../../src/services/EventLog.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { GapRepository } from "../../../src/services/GapRepository.ts"
import { SendRepository } from "../../../src/services/SendRepository.ts"
import { layerMemory } from "../../../src/layers/memory/MemoryStorage.ts"
import { messageDraft } from "../../support/surface.ts"

interface Call {
  readonly at: number
  readonly keep: number
  readonly stepMax: number
}

const asked = Effect.fnUntraced(function*(answer: (call: number) => Effect.Effect<Deletion, StorageUnavailable>) {
  const calls = yield* Ref.make<ReadonlyArray<Call>>([])
  const log = {
    bounds: Effect.succeed({ head: 0, oldest: 1 }),
    deleteOlderThan: (keep: Duration.Duration, { stepMax }: { readonly stepMax: Duration.Duration }) =>
      Effect.gen(function*() {
        const call = {
          at: yield* Clock.currentTimeMillis,
          keep: Duration.toMillis(keep),
          stepMax: Duration.toMillis(stepMax)
        }
        return yield* answer((yield* Ref.updateAndGet(calls, (all) => [...all, call])).length)
      })
  } as unknown as EventLog["Service"]
  yield* Layer.build(Layer.effectDiscard(Retention.make(Duration.days(30)))).pipe(
    Effect.provideService(EventLog, log),
    Effect.provideService(
      GapRepository,
      GapRepository.of({ ...({} as GapRepository["Service"]), deleteOlderThan: () => Effect.succeed(0) })
    ),
    Effect.provideService(
      SendRepository,
      SendRepository.of({ ...({} as SendRepository["Service"]), deleteOlderThan: () => Effect.succeed(0) })
    )
  )
  return { calls: Ref.get(calls) }
})

const deviceId = DeviceId.make(`dev_${"0".repeat(26)}`)

/** The lines logged since the last call. */
const captureLines = () => {
  let lines: Array<string> = []
  const logger = Logger.layer([Logger.make(({ message }) => lines.push(JSON.stringify(message)))])
  const taken = () => {
    const taken = lines.filter((line) => line.includes("A sink holds back"))
    lines = []
    return taken
  }
  return { logger, taken }
}

const deleted = { _tag: "Deleted", count: 1 } as const
const minute = Duration.toMillis(Duration.minutes(1))
const day = Duration.toMillis(Duration.days(1))

describe("Retention", () => {
  it.effect("waits a minute after the start, then deletes expired events every ten minutes", () =>
    Effect.gen(function*() {
      const { calls } = yield* asked(() => Effect.succeed(deleted))
      yield* TestClock.adjust("59 seconds")
      assert.deepStrictEqual(yield* calls, [])
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* calls, [{ at: minute, keep: 30 * day, stepMax: 61 * minute }])
      yield* TestClock.adjust("10 minutes")
      assert.deepStrictEqual((yield* calls)[1], { at: 11 * minute, keep: 30 * day, stepMax: 70 * minute })
    }))

  it.effect("accepts a clock step only up to the time that has passed here, until a refusal has lasted six hours", () =>
    Effect.gen(function*() {
      const refused = { _tag: "Refused", elapsed: Duration.days(400) } as const
      const { calls } = yield* asked((call) => Effect.succeed(call === 1 || call > 40 ? deleted : refused))
      yield* TestClock.adjust("7 hours")
      const steps = (yield* calls).map(({ at, stepMax }) => [at / minute, stepMax / minute] as const)
      const bounded = steps.filter(([at]) => at > 1 && at < 11 + 6 * 60)
      assert.deepStrictEqual(bounded, bounded.map(([at]) => [at, at - 1 + 60] as const))
      assert.deepStrictEqual(
        steps.filter(([, stepMax]) => stepMax > 400 * 24 * 60).map(([at]) => at),
        [371, 381, 391, 401]
      )
    }))

  it.effect("continues after a database outage", () =>
    Effect.gen(function*() {
      const { calls } = yield* asked((call) =>
        call === 1 ? Effect.fail(StorageUnavailable.of("retain")) : Effect.succeed(deleted)
      )
      yield* TestClock.adjust("11 minutes")
      assert.lengthOf(yield* calls, 2)
    }))

  it.effect("names the sink that holds back expired events, once as long as nothing changes", () => {
    const { logger, taken } = captureLines()
    return Effect.gen(function*() {
      const log = yield* EventLog
      const claim = yield* log.claimCursor("former", "beginning")
      // A cursor rides in the next batch or goes alone after a short idle time.
      const move = (to: CursorClaim, seq: number) =>
        Effect.all([log.moveCursor(to, seq), TestClock.adjust("1 second")], { concurrency: 2 })
      yield* log.append([messageDraft(deviceId, 1), messageDraft(deviceId, 2), messageDraft(deviceId, 3)])
      const reader = yield* log.claimCursor("reader", "now")
      yield* move(reader, 3)
      yield* Retention.make(Duration.days(30))
      yield* TestClock.adjust("29 days")
      assert.deepStrictEqual(taken(), [])
      yield* TestClock.adjust("2 days")
      const [line, ...more] = taken()
      assert.deepStrictEqual(more, [])
      assert.include(line, `"former":0`)
      assert.notInclude(line, "reader")
      yield* move(claim, 2)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* log.bounds).oldest, 3)
      const moved = taken()
      assert.lengthOf(moved, 1)
      assert.include(moved[0], `"former":2`)
      yield* move(claim, 3)
      yield* TestClock.adjust("1 hour")
      assert.deepStrictEqual(taken(), [])
      assert.strictEqual((yield* log.bounds).oldest, 3, "the newest event stays")
    }).pipe(Effect.provide(Layer.merge(layerMemory, logger)))
  })
})
