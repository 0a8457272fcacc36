/** What the actors count between two ticks, in the metrics. */
import { assert, it } from "@effect/vitest"
import { Duration, Effect, Metric } from "effect"
import { TestClock } from "effect/testing"
import * as FleetMeter from "../../../src/actors/fleet/FleetMeter.ts"
import type { FailureClass } from "../../../src/domain/DeviceState.ts"
import * as Metrics from "../../../src/services/Metrics.ts"

const readLosses = (failure: FailureClass) =>
  Effect.map(Metric.value(Metric.withAttributes(Metrics.reconnects, { class: failure })), ({ count }) => Number(count))

it.effect("counts each lost connection once, by its class, when the tick is over", () =>
  Effect.gen(function*() {
    const meter = yield* FleetMeter.make({ tick: Duration.seconds(1) })
    const before = yield* readLosses("transport")
    const refusedBefore = yield* readLosses("auth")
    meter.lost("transport")
    meter.lost("transport")
    meter.lost("auth")
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* readLosses("transport")) - before, 2)
    meter.lost("transport")
    yield* TestClock.adjust("1 second")
    assert.strictEqual((yield* readLosses("transport")) - before, 3)
    assert.strictEqual((yield* readLosses("auth")) - refusedBefore, 1)
  }))
