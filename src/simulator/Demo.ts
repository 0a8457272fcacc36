/** The demo: a few made-up devices in an empty database, and something for them to hear. */
import { Effect } from "effect"
import { GatewayName, UpstreamId } from "../domain/Ids.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import type { SimulatorHandle } from "./SimulatedGateway.ts"

export const demoGateway = GatewayName.make("default")

/** Events a second: a lively shop each, but no more than a terminal can show. */
const rateMax = 50
const ratePerDevice = 0.25

/**
 * Gives a fresh simulator the slots that the database knows; adds `count` devices where it knows none; lets things
 * happen. Returns how many devices were added.
 */
export const seed = Effect.fn("Demo.seed")(function*(simulator: SimulatorHandle, count: number) {
  const repository = yield* DeviceRepository
  const manager = yield* DeviceManager
  const known = yield* repository.desired
  for (const { upstreamId } of known) simulator.core.addDevice(upstreamId)
  const empty = known.length === 0 && Object.keys(yield* repository.countByState).length === 0
  const added = empty ? count : 0
  for (let number = 1; number <= added; number++) {
    const upstreamId = UpstreamId.make(`demo-${String(number).padStart(2, "0")}`)
    const { name } = simulator.core.addDevice(upstreamId)
    yield* manager.register({ name, gateway: demoGateway, upstreamId })
  }
  const devices = simulator.core.devices.size
  if (count > 0) simulator.core.keepEmitting({ rate: Math.min(rateMax, Math.max(1, devices * ratePerDevice)) })
  return added
})
