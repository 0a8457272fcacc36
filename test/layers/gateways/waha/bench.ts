/** A simulated WAHA server with one session, and the adapter onto it. */
import { Effect, Redacted } from "effect"
import type { GatewayName } from "../../../../src/domain/Ids.ts"
import * as WahaGateway from "../../../../src/layers/gateways/waha/WahaGateway.ts"
import { PingWheel } from "../../../../src/layers/gateways/PingWheel.ts"
import * as SimulatedGateway from "../../../../src/simulator/SimulatedGateway.ts"
import type { WahaOptions, WahaServer } from "../../../../src/simulator/waha/WahaServer.ts"
import { makeTarget } from "../../../support/gateway.ts"

export const target = makeTarget("sim-1")

export const peer = "628999000111@s.whatsapp.net"

/** A key that is recognised wherever it must not appear. */
export const apiKey = "K3Y-that-nobody-may-read"

export const makeGateway = (url: string, key: string | null = apiKey) =>
  WahaGateway.make({
    name: "default" as GatewayName,
    url,
    wheel: new PingWheel({ turn: 20_000, slots: 4, missesMax: 2 }),
    ...(key === null ? undefined : { apiKey: Redacted.make(key) })
  })

export const setup = Effect.fnUntraced(function*(
  options: SimulatedGateway.SimulatorOptions = {},
  waha: WahaOptions = {}
) {
  const simulator = yield* SimulatedGateway.start({
    dialect: "waha",
    devices: 1,
    ...options,
    waha: { apiKey, waitMillis: 100, ...waha }
  })
  const { core } = simulator
  const gateway = yield* makeGateway(simulator.url)
  return { simulator, core, device: core.devices.get("sim-1")!, waha: core.dialect as WahaServer, gateway }
})

export const say = (id: string, change: Readonly<Record<string, unknown>> = {}) => ({
  id,
  chat_id: peer,
  from: peer,
  timestamp: "2026-08-22T10:00:00Z",
  is_from_me: false,
  body: `body of ${id}`,
  ...change
})
