import { assert, it } from "@effect/vitest"
import { Clock, Effect, Ref } from "effect"
import { TestClock } from "effect/testing"
import * as IdentityMerges from "../../../src/actors/delivery/IdentityMerges.ts"
import { StorageUnavailable } from "../../../src/domain/DeviceErrors.ts"
import { EventLog } from "../../../src/services/EventLog.ts"

it.effect("merges once a minute, but not at start, and continues after a database outage", () =>
  Effect.gen(function*() {
    const calls = yield* Ref.make<ReadonlyArray<number>>([])
    const log = {
      mergeIdentities: Effect.gen(function*() {
        const at = yield* Clock.currentTimeMillis
        const all = yield* Ref.updateAndGet(calls, (all) => [...all, at / 1000])
        return all.length === 2 ? yield* StorageUnavailable.of("merge") : 1
      })
    } as unknown as EventLog["Service"]
    yield* IdentityMerges.make.pipe(Effect.provideService(EventLog, log))
    yield* TestClock.adjust("59 seconds")
    assert.deepStrictEqual(yield* Ref.get(calls), [])
    yield* TestClock.adjust("121 seconds")
    assert.deepStrictEqual(yield* Ref.get(calls), [60, 120, 180])
  }))
