/**
 * The demo: a few made-up devices in an empty embedded database, and something for them to receive.
 *
 * A demo device carries its mark in the gateway that it names: `simulator`, which is the built-in simulator and nothing
 * else. So it can never become a slot of a real gateway, not even after `WHATSAPP_API_URL` was set on the same data
 * directory; it is then shown as not running and is not started.
 */
import { Clock, DateTime, Effect } from "effect"
import type { Device } from "../domain/Device.ts"
import type { EventDraft } from "../domain/Event.ts"
import { GatewayName, UpstreamId } from "../domain/Ids.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import { makeEventId } from "../services/EventIdentity.ts"
import { EventLog } from "../services/EventLog.ts"
import type { SimulatorHandle } from "./SimulatedGateway.ts"

/** The name of the built-in simulator among the gateways. */
export const simulatorGateway = GatewayName.make("simulator")

/** Events per second: a lively shop each, but no more than a terminal can show. */
const rateMax = 50
const ratePerDevice = 0.25

const listSimulated = Effect.flatMap(
  DeviceRepository,
  ({ desired }) => Effect.map(desired(), (all) => all.filter(({ gateway }) => gateway === simulatorGateway))
)

/**
 * Gives a fresh simulator the slots that the database knows, adds `count` devices where the database knows none, and
 * starts the traffic. Returns how many devices were added.
 */
export const seed = Effect.fn("Demo.seed")(function*(simulator: SimulatorHandle, count: number) {
  const repository = yield* DeviceRepository
  const manager = yield* DeviceManager
  for (const { upstreamId } of yield* listSimulated) simulator.core.addDevice(upstreamId)
  const empty = Object.keys(yield* repository.countByState).length === 0
  const added = empty ? count : 0
  for (let number = 1; number <= added; number++) {
    const upstreamId = UpstreamId.make(`demo-${String(number).padStart(2, "0")}`)
    const { name } = simulator.core.addDevice(upstreamId)
    yield* manager.register({ name, gateway: simulatorGateway, upstreamId })
  }
  const devices = simulator.core.devices.size
  if (count > 0) simulator.core.keepEmitting({ rate: Math.min(rateMax, Math.max(1, devices * ratePerDevice)) })
  return added
})

/**
 * Records that the simulated devices of this database do not run, since this process does not run the simulator. No
 * actor would: their gateway is not there. Returns how many there are.
 */
export const retire = Effect.fn("Demo.retire")(function*() {
  const repository = yield* DeviceRepository
  const log = yield* EventLog
  const simulated = (yield* listSimulated).filter(({ active }) => active)
  const now = yield* Clock.currentTimeMillis
  for (const { id } of simulated) {
    const device = yield* repository.get(id)
    if (device.state._tag !== "Inactive") log.push(draftRetired(device, now))
  }
  yield* log.flush
  return simulated.length
})

const draftRetired = ({ id, jid, phone, state }: Device, now: number): EventDraft => ({
  id: makeEventId(now),
  kind: "device.state",
  deviceId: id,
  occurredAt: DateTime.formatIso(DateTime.makeUnsafe(now)),
  via: "columba",
  data: { from: state._tag, state: { _tag: "Inactive" }, rule: "simulator-not-running", failure: null, jid, phone },
  identity: null,
  aliases: []
})
