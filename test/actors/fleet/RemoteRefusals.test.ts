/** Webhooks that were refused by a process without actors: from the refusal to the ledger of gaps. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import * as RefusalReport from "../../../src/services/RefusalReport.ts"
import { WebhookRefusals } from "../../../src/services/WebhookRefusals.ts"
import type { ReportedRefusal } from "../../../src/services/WebhookRefusals.ts"
import { makeRefusals } from "../../support/recordedRefusals.ts"
import { deviceId, pass } from "../../support/fleetBench.ts"
import { arriving, begin, gapsOf, live, logged, waIdsIn } from "../../support/receptionBench.ts"

const one = deviceId(1)

describe("the report of refused webhooks", () => {
  const withReport = (
    test: (bench: {
      readonly report: RefusalReport.RefusalReport
      readonly reported: Array<ReportedRefusal>
      readonly setAway: (away: boolean) => Effect.Effect<void>
    }) => Effect.Effect<void>
  ) =>
    Effect.gen(function*() {
      const { refusals, reported, setAway } = makeRefusals({ away: false })
      const report = yield* Effect.provideService(RefusalReport.make, WebhookRefusals, refusals)
      yield* test({ report, reported, setAway })
    }).pipe(Effect.scoped)

  it.effect("is written some seconds after the last refusal, with the time of the first", () =>
    withReport(({ report, reported }) =>
      Effect.gen(function*() {
        for (let second = 0; second < 10; second++) {
          report.note(one)
          yield* pass("1 second")
        }
        assert.deepStrictEqual(reported, [])
        yield* pass("10 seconds")
        assert.strictEqual(reported.length, 1)
        const { firstAgo, lastAgo } = reported[0]!
        assert.closeTo(firstAgo - lastAgo, 9000, 1)
        assert.isAtMost(lastAgo, 7000)
      })
    ))

  it.effect("is written after a minute if refusals continue, and waits for a database that is down", () =>
    withReport(({ report, reported, setAway }) =>
      Effect.gen(function*() {
        yield* setAway(true)
        for (let second = 0; second < 100; second++) {
          report.note(one)
          yield* pass("1 second")
        }
        assert.deepStrictEqual(reported, [])
        yield* setAway(false)
        yield* pass("2 seconds")
        assert.isAtLeast(reported[0]!.firstAgo, 100_000)
        assert.lengthOf(reported, 1)
      })
    ))
})

describe("webhooks that another process has refused", () => {
  it.effect("are a gap of their device, whose history is read", () =>
    Effect.gen(function*() {
      const refusals = yield* WebhookRefusals
      const { gateway, history } = yield* begin(2)
      yield* live(gateway)
      yield* pass("10 minutes")
      history.keep(yield* arriving(one, { waId: "MISSED" }))
      yield* pass("30 seconds")
      yield* Effect.orDie(refusals.report([
        { deviceId: one, firstAgo: 30_000, lastAgo: 20_000 },
        { deviceId: deviceId(8), firstAgo: 90_000_000, lastAgo: 90_000_000 },
        { deviceId: deviceId(9), firstAgo: 0, lastAgo: 0 }
      ]))
      yield* pass("2 minutes")
      const gaps = yield* gapsOf(one)
      assert.deepStrictEqual(gaps.map(({ cause, recovered, status }) => [cause, status, recovered]), [
        ["webhook-refused", "closed", 1]
      ])
      const length = Date.parse(gaps[0]!.endedAt!) - Date.parse(gaps[0]!.openedAt)
      assert.isAtLeast(length, 10_000 + 35_000, "and the time in which the gateway may have given up")
      assert.deepStrictEqual(waIdsIn(yield* logged("message.received")), ["MISSED"])
      // The row of a device that no process here runs stays for its owner, and not for ever.
      assert.deepStrictEqual((yield* Effect.orDie(refusals.list)).map(({ deviceId }) => deviceId), [deviceId(9)])
    }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layerMemory))))
})
