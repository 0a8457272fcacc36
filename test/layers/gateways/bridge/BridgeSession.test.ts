import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import * as BridgeGateway from "../../../../src/layers/gateways/bridge/BridgeGateway.ts"
import * as SimulatedGateway from "../../../../src/simulator/SimulatedGateway.ts"
import { record, targetOf } from "../../../support/gateway.ts"

const name = "default" as GatewayName

describe("a bridge session", () => {
  it.live("authenticates and names the device in header and query", () =>
    Effect.gen(function*() {
      const auth = { user: "columba", password: "pass:word" }
      const simulator = yield* SimulatedGateway.start({ devices: 1, auth })
      const gateway = yield* BridgeGateway.make({
        name,
        url: simulator.url,
        user: auth.user,
        password: Redacted.make(auth.password)
      })
      const listener = record()
      yield* gateway.open(targetOf("sim-1"), listener)
      const device = simulator.core.devices.get("sim-1")!
      assert.deepStrictEqual(device.handshake, { header: "sim-1", query: "sim-1", user: "columba" })
      yield* listener.until(({ happenings }) => happenings.length > 0)
      assert.deepStrictEqual(listener.happenings, [{ _tag: "UpstreamConnected", jid: device.jid }])
      console.log(yield* gateway.status(targetOf("sim-1")), gateway.description)
    }))
})
