/** A machine's wall clock is corrected while the fleet runs: no wait may depend on it. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as ConnectGate from "../../../src/actors/gateway/ConnectGate.ts"
import * as GatewayIncidents from "../../../src/actors/gateway/GatewayIncidents.ts"
import { device, deviceId, FleetBench, layer, pass, settle } from "../../support/fleetBench.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"
import { withSteppedClock } from "../../support/steppedClock.ts"
import type { SteppedClock } from "../../support/steppedClock.ts"

const one = deviceId(1)
const stepBack = -45_000

const withFleet = (
  devices: Parameters<typeof layer>[0],
  test: (bench: FleetBench["Service"], clock: SteppedClock) => Effect.Effect<void>
) =>
  withSteppedClock((clock) =>
    Effect.flatMap(FleetBench, (bench) => test(bench, clock)).pipe(Effect.provide(layer(devices)), Effect.scoped)
  )

describe("a wall clock that is stepped back by 45 s", () => {
  it.effect("lets a device in Backoff retry when its wait is over", () =>
    withFleet([device(1)], (bench, clock) =>
      Effect.gen(function*() {
        yield* pass("2 seconds")
        bench.gateway.live(one)[0]!.lose("transport")
        yield* settle
        assert.strictEqual(bench.readState(one), "Backoff")
        clock.stepWall(stepBack)
        // An input that changes nothing makes the actor look at its wait again.
        yield* bench.want([device(1, { releaseRequests: 1 })])
        yield* pass("3 seconds", "100 millis")
        assert.strictEqual(bench.gateway.live(one).length, 1)
      })))

  it.effect("delays no handshake at the gate", () =>
    withSteppedClock((clock) =>
      Effect.gen(function*() {
        const gate = ConnectGate.make({ handshakesInFlight: 100, connectsPerSecond: 10 })
        yield* gate.enter(Effect.void)
        clock.stepWall(stepBack)
        const entered = yield* Effect.forkChild(gate.enter(Effect.void))
        yield* settle
        yield* TestClock.adjust("200 millis")
        yield* settle
        assert.isDefined(entered.pollUnsafe())
      })
    ))

  it.effect("does not extend how long an answer of the gateway is valid", () =>
    withSteppedClock((clock) =>
      Effect.scoped(Effect.gen(function*() {
        const gateway = new ScriptedGateway()
        const incidents = yield* GatewayIncidents.make(gateway)
        const failure = { class: "upstreamDown", code: "connection-refused", detail: "refused" } as const
        assert.isFalse(yield* incidents.suspect(failure))
        clock.stepWall(stepBack)
        gateway.up = false
        yield* TestClock.adjust("2 seconds")
        assert.isTrue(yield* incidents.suspect(failure))
      }))
    ))

  it.effect("delays no question about a slot", () =>
    withFleet([device(1, { jid: null })], (bench, clock) =>
      Effect.gen(function*() {
        yield* pass("2 seconds")
        bench.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
        yield* settle
        clock.stepWall(stepBack)
        const asked = bench.gateway.holdStatus()
        bench.gateway.live(one)[0]!.say({ _tag: "UpstreamDisconnected", reason: null })
        yield* settle
        clock.stepWall(stepBack)
        yield* pass("3 seconds")
        assert.strictEqual(asked.count(), 1)
      })))

  it.effect("keeps a stable connection stable", () =>
    withFleet([device(1)], (bench, clock) =>
      Effect.gen(function*() {
        bench.gateway.mode = "transport"
        yield* pass("5 seconds")
        bench.gateway.mode = "accept"
        for (let waited = 0; waited < 30 && bench.readState(one) !== "Online"; waited++) yield* pass("1 second")
        yield* pass("70 seconds", "5 seconds")
        clock.stepWall(stepBack)
        bench.gateway.live(one)[0]!.lose("transport")
        yield* settle
        assert.deepInclude(bench.transitions(one).at(-1)!.state, { _tag: "Backoff", attempt: 1 })
      })))
})

describe("a wall clock that is stepped forward by an hour", () => {
  it.effect("gives a flapping device no new budget", () =>
    withFleet([device(1)], (bench, clock) =>
      Effect.gen(function*() {
        yield* pass("2 seconds")
        for (let losses = 0; losses < 11; losses++) {
          if (losses === 6) clock.stepWall(3_600_000)
          bench.gateway.live(one)[0]!.lose("transport")
          yield* settle
          if (losses < 10) yield* pass("31 seconds")
        }
        assert.strictEqual(bench.readState(one), "Quarantined")
      })))

  it.effect("ends no quarantine", () =>
    withFleet([device(1)], (bench, clock) =>
      Effect.gen(function*() {
        bench.gateway.mode = "transport"
        yield* pass("4 minutes")
        assert.strictEqual(bench.readState(one), "Quarantined")
        clock.stepWall(3_600_000)
        yield* bench.want([device(1, { reconnectRequests: 1 })])
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "Quarantined")
      })))
})
