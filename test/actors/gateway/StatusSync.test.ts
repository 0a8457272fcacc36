/** How many requests the devices of one gateway cost, and which answers count. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { GatewayUnavailable } from "../../../src/domain/DeviceErrors.ts"
import type { UpstreamId } from "../../../src/domain/Ids.ts"
import type { SlotStatus } from "../../../src/services/GatewayParts.ts"
import { device, deviceId, FleetBench, layer, pass } from "../../support/fleetBench.ts"

const usable = (n: number): SlotStatus["status"] => ({
  isConnected: true,
  isLoggedIn: true,
  jid: `62811${String(n).padStart(6, "0")}@s.whatsapp.net`
})

const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]
const devices = numbers.map((n) => device(n))

const withFleet = (test: (bench: FleetBench["Service"]) => Effect.Effect<void>) =>
  Effect.flatMap(FleetBench, test).pipe(
    Effect.provide(layer(devices, { statusConcurrency: 1, connectsPerSecond: 1000 })),
    Effect.scoped
  )

describe("a gateway that answers for all slots at once", () => {
  it.effect("is asked far less often than it has devices, and every device gets its answer", () =>
    withFleet((bench) =>
      Effect.gen(function*() {
        let lists = 0
        let single = 0
        Object.assign(bench.gateway, {
          statuses: Effect.sync(() => {
            lists++
            return new Map(numbers.map((n) => [`slot-${n}`, { status: usable(n), proven: true }]))
          }),
          status: ({ upstreamId }: { readonly upstreamId: UpstreamId }) =>
            Effect.sync(() => {
              single++
              return usable(Number(upstreamId.slice("slot-".length)))
            })
        })
        yield* pass("5 seconds")
        for (const n of numbers) assert.strictEqual(bench.readState(deviceId(n)), "Online")
        assert.isAbove(lists, 0)
        assert.isBelow(lists + single, numbers.length)
      })
    ))

  it.effect("is asked separately about a slot for which its list proves nothing; a slot missing in the list has no login", () =>
    withFleet((bench) =>
      Effect.gen(function*() {
        const asked = new Set<string>()
        Object.assign(bench.gateway, {
          statuses: Effect.sync(() =>
            new Map(numbers.slice(1).map((n) => [`slot-${n}`, { status: usable(n), proven: n > 5 }]))
          ),
          status: ({ upstreamId }: { readonly upstreamId: UpstreamId }) =>
            Effect.sync(() => {
              asked.add(upstreamId)
              const n = Number(upstreamId.slice("slot-".length))
              return n === 1
                ? { isConnected: false, isLoggedIn: false, jid: null }
                : { ...usable(n), isConnected: n !== 2 }
            })
        })
        yield* pass("10 seconds")
        assert.strictEqual(bench.readState(deviceId(1)), "LoggedOut")
        assert.strictEqual(bench.readState(deviceId(2)), "Connecting", "listed as usable, and not connected when asked")
        for (const n of numbers.slice(2)) assert.strictEqual(bench.readState(deviceId(n)), "Online")
        for (const n of [2, 3, 4, 5]) assert.isTrue(asked.has(`slot-${n}`), `slot-${n}`)
      })
    ))

  it.effect("keeps the account of an online device while it reports it as not connected, without an account", () =>
    withFleet((bench) =>
      Effect.gen(function*() {
        let stopped = false
        Object.assign(bench.gateway, {
          // A session that is stopped need not name its account: the recorded account stays.
          status: ({ jid, upstreamId }: { readonly jid: string | null; readonly upstreamId: UpstreamId }) =>
            Effect.sync(() =>
              stopped
                ? { isConnected: false, isLoggedIn: false, jid }
                : usable(Number(upstreamId.slice("slot-".length)))
            )
        })
        yield* pass("10 seconds")
        for (const n of numbers) assert.strictEqual(bench.readState(deviceId(n)), "Online")
        stopped = true
        yield* pass("10 minutes", "1 second")
        for (const n of numbers) assert.strictEqual(bench.readState(deviceId(n)), "Connecting")
      })
    ))

  it.effect("proves nothing by a list that fails, and is asked for it again", () =>
    withFleet((bench) =>
      Effect.gen(function*() {
        let lists = 0
        Object.assign(bench.gateway, {
          statuses: Effect.suspend(() => {
            if (++lists < 3) return Effect.fail(GatewayUnavailable.of("default", "list its slots", "no answer"))
            // The gateway is well again: it answers single questions too, for a device that is due alone.
            bench.gateway.answer = { isConnected: true, isLoggedIn: true, jid: null }
            return Effect.succeed(new Map(numbers.map((n) => [`slot-${n}`, { status: usable(n), proven: true }])))
          })
        })
        bench.gateway.answer = null
        yield* pass("10 minutes", "1 second")
        assert.isAtLeast(lists, 3)
        for (const n of numbers) assert.strictEqual(bench.readState(deviceId(n)), "Online")
      })
    ))
})

describe("a gateway whose session carries no events", () => {
  it.effect("is asked often enough that a silently lost connection is detected within 31 seconds", () =>
    withFleet((bench) =>
      Effect.gen(function*() {
        const { capabilities } = bench.gateway
        Object.assign(bench.gateway, { capabilities: { ...capabilities, liveEvents: "webhook" } })
        yield* pass("10 seconds")
        for (const n of numbers) assert.strictEqual(bench.readState(deviceId(n)), "Online")
        bench.gateway.answer = { isConnected: false, isLoggedIn: true, jid: null }
        yield* pass("31 seconds", "1 second")
        for (const n of numbers) assert.strictEqual(bench.readState(deviceId(n)), "Connecting")
      })
    ))
})

describe("an answer from before a logout", () => {
  it.effect("does not bring the device back online: the gateway is asked again", () =>
    withFleet((bench) =>
      Effect.gen(function*() {
        yield* pass("5 seconds")
        const one = deviceId(1)
        const session = bench.gateway.live(one)[0]!
        session.say({ _tag: "UpstreamDisconnected", reason: null })
        const held = bench.gateway.holdStatus()
        yield* pass("5 seconds")
        assert.strictEqual(held.open(), 1)
        session.say({ _tag: "LoggedOut", reason: "by the user" })
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "LoggedOut")
        held.release(usable(1))
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "LoggedOut")
        assert.strictEqual(held.open(), 1, "and the question is asked again")
        held.release({ isConnected: false, isLoggedIn: false, jid: null })
        yield* pass("1 second")
        assert.strictEqual(bench.readState(one), "LoggedOut")
      })
    ))
})
