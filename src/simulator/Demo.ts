/**
 * The demo: a few made-up devices in an empty embedded database, and traffic for them.
 *
 * A demo device is marked by its gateway name `simulator`, which is always the built-in simulator. So it can never become a
 * slot of a real gateway, not even after `WHATSAPP_API_URL` was set on the same data
 * directory; it is then shown as not running and is not started, and its past events reach no broker.
 */
import { Effect, Option, Stream } from "effect"
import type { DeviceId } from "../domain/Ids.ts"
import { GatewayName, UpstreamId } from "../domain/Ids.ts"
import { DeviceManager } from "../services/DeviceManager.ts"
import { DeviceRepository } from "../services/DeviceRepository.ts"
import type { EventSink } from "../services/EventSink.ts"
import type { SimulatorHandle } from "./SimulatedGateway.ts"

/** The name of the built-in simulator among the gateways. */
export const simulatorGateway = GatewayName.make("simulator")

/** Events per second: the traffic of a busy shop for each device, but no more than a terminal can show. */
const rateMax = 50
const ratePerDevice = 0.25

const listSimulated = Effect.flatMap(
  DeviceRepository,
  ({ desired }) => Effect.map(desired(), (all) => all.filter(({ gateway }) => gateway === simulatorGateway))
)

/**
 * Creates the slots of the database's devices in a fresh simulator, adds `count` devices if the database has none, and
 * starts the traffic. Returns the number of added devices.
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

/** The number of simulated devices that should run. Where the simulator does not run, the fleet records that they do not. */
export const countSimulated = Effect.map(listSimulated, (all) => all.filter(({ active }) => active).length)

/** The size of a page while all devices are listed, once at the start. */
const pageSize = 1000

/** Every simulated device of the database, deactivated ones included. */
export const listSimulatedIds = Effect.flatMap(
  DeviceRepository,
  (repository) =>
    Stream.paginate(
      undefined as string | undefined,
      (cursor) =>
        Effect.map(repository.list({ limit: pageSize, cursor }), ({ items, next }) =>
          [
            items.flatMap(({ gateway, id }) => gateway === simulatorGateway ? [id] : []),
            Option.fromNullishOr(next)
          ] as const)
    ).pipe(
      Stream.runCollect,
      Effect.map((ids): ReadonlySet<DeviceId> => new Set(ids))
    )
)

/** The sink without the events of these devices: made-up messages must not reach the broker of a real gateway. */
export const withoutDevices = (sink: EventSink, devices: ReadonlySet<DeviceId>): EventSink => ({
  name: sink.name,
  overlap: sink.overlap,
  publish: (events, attempt) => {
    const kept = events.filter(({ deviceId }) => !devices.has(deviceId))
    return kept.length === 0 ? Effect.void : sink.publish(kept, attempt)
  }
})
