/** When a gateway is asked to start a slot: for devices that should run and whose account is not usable, with backoff. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Result } from "effect"
import { GatewayUnavailable } from "../../../src/domain/DeviceErrors.ts"
import type { SessionTarget } from "../../../src/services/GatewayParts.ts"
import { device, deviceId, FleetBench, layer, pass } from "../../support/fleetBench.ts"

const one = deviceId(1)
const stopped = { isConnected: false, isLoggedIn: false, jid: null }
const offline = { isConnected: false, isLoggedIn: true, jid: "6281234567890@s.whatsapp.net" }
const usable = { isConnected: true, isLoggedIn: true, jid: "6281234567890@s.whatsapp.net" }

/** A gateway that starts slots, and a record of the requests and their times. */
class Starts {
  readonly asked: Array<{ readonly target: SessionTarget; readonly at: number }> = []
  answer: Effect.Effect<void, GatewayUnavailable> = Effect.void
  underWay = 0
  underWayMax = 0

  readonly start = (target: SessionTarget) =>
    Effect.gen({ self: this }, function*() {
      this.asked.push({ target, at: yield* Effect.clockWith((clock) => clock.currentTimeMillis) })
      this.underWay++
      this.underWayMax = Math.max(this.underWay, this.underWayMax)
      return yield* Effect.ensuring(this.answer, Effect.sync(() => this.underWay--))
    })
}

const within = (devices: number, test: (bench: FleetBench["Service"], starts: Starts) => Effect.Effect<void>) =>
  Effect.gen(function*() {
    const bench = yield* FleetBench
    const starts = new Starts()
    bench.gateway.answer = stopped
    Object.assign(bench.gateway, { start: starts.start })
    yield* test(bench, starts)
  }).pipe(
    Effect.provide(layer(Array.from({ length: devices }, (_, index) => device(index + 1)))),
    Effect.scoped
  )

/** The devices leave the previous gateway and come to the one that starts slots. */
const begin = (bench: FleetBench["Service"]) => bench.setGateway(Result.succeed(2))

const stateOf = (bench: FleetBench["Service"]) => bench.readState(one)

describe("a slot that is stopped at its gateway", () => {
  it.effect("is started, and the device is online as soon as the gateway reports it", () =>
    within(1, (bench, starts) =>
      Effect.gen(function*() {
        starts.answer = Effect.sync(() => {
          bench.gateway.answer = usable
        })
        yield* begin(bench)
        yield* pass("5 seconds")
        assert.strictEqual(starts.asked.length, 1)
        const { deviceId, upstreamId } = starts.asked[0]!.target
        assert.deepStrictEqual([deviceId, upstreamId as string], [one, "slot-1"])
        assert.strictEqual(stateOf(bench), "Online")
        yield* pass("30 minutes", "20 seconds")
        assert.strictEqual(starts.asked.length, 1, "a slot that runs is left alone")
      })))

  it.effect("is started again at growing intervals, which are reset once it has been online", () =>
    within(1, (bench, starts) =>
      Effect.gen(function*() {
        yield* begin(bench)
        yield* pass("1 hour", "20 seconds")
        const waits = starts.asked.slice(1).map(({ at }, index) => at - starts.asked[index]!.at)
        assert.isAtLeast(waits.length, 7)
        assert.isAtMost(starts.asked.length, 20)
        assert.isAtMost(Math.max(...waits), 16 * 60_000)
        assert.isAbove(waits.at(-1)!, waits[0]!)
        bench.gateway.answer = usable
        yield* pass("2 minutes")
        assert.strictEqual(stateOf(bench), "Online")
        bench.gateway.answer = offline
        const before = starts.asked.length
        yield* pass("9 minutes", "5 seconds")
        assert.isAbove(starts.asked.length, before + 1)
      })))

  it.effect("is not started if the device should not run", () =>
    within(1, (bench, starts) =>
      Effect.gen(function*() {
        yield* begin(bench)
        yield* pass("1 minute")
        const before = starts.asked.length
        assert.isAbove(before, 0)
        yield* bench.want([device(1, { active: false })])
        yield* pass("1 hour", "20 seconds")
        assert.strictEqual(starts.asked.length, before)
      })))

  it.effect("is tried again if the gateway fails to start it, or its adapter crashes", () =>
    within(1, (bench, starts) =>
      Effect.gen(function*() {
        yield* begin(bench)
        for (
          const answer of [
            Effect.fail(GatewayUnavailable.of("default", "start a slot", "ECONNREFUSED")),
            Effect.die(new Error("planted")),
            Effect.never
          ] as const
        ) {
          const before = starts.asked.length
          starts.answer = answer
          yield* pass("20 minutes", "10 seconds")
          assert.isAbove(starts.asked.length, before)
        }
      })))

  it.effect("is one of a few at a time, however many there are", () =>
    within(200, (bench, starts) =>
      Effect.gen(function*() {
        starts.answer = Effect.sleep("100 millis")
        yield* begin(bench)
        yield* pass("20 seconds", "100 millis")
        assert.strictEqual(new Set(starts.asked.map(({ target }) => target.deviceId)).size, 200)
        assert.strictEqual(starts.underWayMax, 4)
      })))
})
