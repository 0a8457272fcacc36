/** Questions to a gateway about its slots, and whether it answers at all. */
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { makeTarget } from "../../support/gateway.ts"
import { type Adapter, setup, target } from "./harness.ts"

export const slotConformance = (adapter: Adapter): void => {
  describe(`${adapter.name}: questions about slots`, () => {
    it.live("returns the slot's status from the gateway: paired or not, connected or not, known or not", () =>
      Effect.gen(function*() {
        const { core, device, gateway } = yield* setup(adapter, { simulator: { autoPair: false } })
        const none = { isConnected: false, isLoggedIn: false, jid: null }
        assert.deepStrictEqual(yield* gateway.status(target), none, "never paired")
        core.pair(device)
        const usable = { isConnected: true, isLoggedIn: true, jid: device.jid }
        assert.deepStrictEqual(yield* gateway.status(target), usable, "paired")
        device.connected = false
        assert.deepStrictEqual(
          yield* gateway.status(target),
          { ...usable, isConnected: false },
          "offline, still paired"
        )
        core.logOut(device)
        assert.deepStrictEqual(yield* gateway.status(target), none, "logged out")
        assert.deepStrictEqual(yield* gateway.status(makeTarget("nobody")), none, "no such slot")
      }))

    it.live("creates a slot only once when asked twice", () =>
      Effect.gen(function*() {
        const { core, gateway } = yield* setup(adapter)
        const slot = makeTarget("tenant-7").upstreamId
        yield* gateway.ensureSlot(slot)
        const made = core.devices.get("tenant-7")
        assert.isDefined(made)
        yield* gateway.ensureSlot(slot)
        assert.strictEqual(core.devices.get("tenant-7"), made)
      }))

    it.live("distinguishes refused credentials from an unreachable gateway; the probe needs no credentials", () =>
      Effect.gen(function*() {
        const { gateway, proxy } = yield* setup(adapter, { simulator: adapter.locked.simulator })
        const refused = yield* Effect.flip(gateway.status(target))
        assert.include(refused.message, "credentials")
        yield* gateway.probe
        yield* proxy.disable
        assert.match((yield* Effect.flip(gateway.status(target))).message, /ECONN/)
        assert.strictEqual((yield* Effect.flip(gateway.probe))._tag, "GatewayUnavailable")
        assert.strictEqual((yield* Effect.flip(gateway.ensureSlot(target.upstreamId)))._tag, "GatewayUnavailable")
      }))
  })
}
