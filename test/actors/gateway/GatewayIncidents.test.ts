/** When a gateway counts as down, and when as up again. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import * as GatewayIncidents from "../../../src/actors/gateway/GatewayIncidents.ts"
import { device, FleetBench, layer, pass, settle } from "../../support/fleetBench.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"

const refused = { class: "upstreamDown", code: "connection-refused", detail: "refused" } as const

const makeWaiter = () => {
  const waiter = { woken: 0, incidentOver: () => void waiter.woken++ }
  return waiter
}

describe("a gateway's incident", () => {
  it.effect("continues to be probed when a probe crashes, and ends when the gateway answers", () =>
    Effect.scoped(Effect.gen(function*() {
      const gateway = new ScriptedGateway()
      gateway.up = false
      const incidents = yield* GatewayIncidents.make(gateway)
      const waiter = makeWaiter()
      assert.isTrue(yield* incidents.suspect(refused))
      incidents.wait(waiter)
      gateway.probeCrashes = true
      yield* TestClock.adjust("1 minute")
      assert.isNotNull(incidents.current())
      gateway.probeCrashes = false
      gateway.up = true
      yield* TestClock.adjust("30 seconds")
      assert.isNull(incidents.current())
      assert.strictEqual(waiter.woken, 1)
    })))

  it.effect("is not started by a probe that crashes", () =>
    Effect.scoped(Effect.gen(function*() {
      const gateway = new ScriptedGateway()
      gateway.probeCrashes = true
      const incidents = yield* GatewayIncidents.make(gateway)
      assert.isFalse(yield* incidents.suspect(refused))
      assert.isNull(incidents.current())
    })))

  it.effect("is probed once for all devices that suspect it, also when the first of them is stopped meanwhile", () =>
    Effect.scoped(Effect.gen(function*() {
      const gateway = new ScriptedGateway()
      const answer = gateway.holdProbe()
      const incidents = yield* GatewayIncidents.make(gateway)
      const first = yield* Effect.forkChild(incidents.suspect(refused))
      yield* settle
      const others = yield* Effect.forEach(
        [1, 2, 3],
        () => Effect.forkChild(incidents.suspect(refused))
      )
      yield* settle
      yield* Effect.forkChild(Fiber.interrupt(first))
      yield* settle
      assert.isDefined(first.pollUnsafe(), "a device that is stopped must not wait for the probe")
      gateway.up = false
      yield* Deferred.succeed(answer, undefined)
      assert.deepStrictEqual(yield* Fiber.joinAll(others), [true, true, true])
      assert.strictEqual(gateway.probes, 1)
    })))

  it.effect("is joined by the devices that wait at the gate, instead of each trying the gateway once more", () =>
    Effect.gen(function*() {
      const bench = yield* FleetBench
      bench.gateway.mode = "blackhole"
      bench.gateway.up = false
      yield* bench.want(Array.from({ length: 300 }, (_, n) => device(n)))
      yield* pass("5 minutes", "5 seconds")
      assert.strictEqual((yield* bench.fleet.incidents)[0]?.waiting, 300)
      assert.isAtMost(bench.gateway.openedAt.length, 20)
      bench.gateway.mode = "accept"
      bench.gateway.up = true
      yield* pass("30 seconds", "5 seconds")
      assert.strictEqual(bench.gateway.live().length, 300)
    }).pipe(Effect.provide(layer([], { handshakesInFlight: 10 })), Effect.scoped))
})
