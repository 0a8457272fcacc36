import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { DeviceId, GatewayName, UpstreamId } from "../../src/domain/Ids.ts"
import { DeviceFleet } from "../../src/services/DeviceFleet.ts"
import { DeviceManager } from "../../src/services/DeviceManager.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { layerMemory } from "../../src/layers/memory/MemoryStorage.ts"
import { ServerIdentity } from "../../src/services/ServerIdentity.ts"
import { GatewayDirectory } from "../../src/services/GatewayDirectory.ts"
import type { WhatsAppGateway } from "../../src/services/WhatsAppGateway.ts"
import * as Demo from "../../src/simulator/Demo.ts"
import { start } from "../../src/simulator/SimulatedGateway.ts"
import { messageDraft } from "../support/surface.ts"

/** A gateway whose slots all exist: the demo creates them in the simulator itself. */
const gateway = {
  name: Demo.simulatorGateway,
  description: "",
  ensureSlot: () => Effect.void
} as unknown as WhatsAppGateway

const services = DeviceManager.layer.pipe(
  Layer.provideMerge(layerMemory),
  Layer.provide([
    DeviceFleet.layerNoop,
    GatewayDirectory.layerFixed([gateway]),
    Layer.succeed(ServerIdentity, {} as ServerIdentity["Service"])
  ])
)

const names = Effect.flatMap(
  DeviceRepository,
  (devices) => Effect.map(devices.list({ limit: 100 }), ({ items }) => items.map(({ upstreamId }) => upstreamId))
)

describe("Demo", () => {
  it.live("adds devices to an empty database once, and recognises them in the next run", () =>
    Effect.gen(function*() {
      const first = yield* start({ seed: "demo" })
      assert.strictEqual(yield* Demo.seed(first, 3), 3)
      assert.deepStrictEqual(yield* names, ["demo-01", "demo-02", "demo-03"])

      const second = yield* start({ seed: "demo", conversation: "another" })
      assert.strictEqual(yield* Demo.seed(second, 3), 0)
      assert.lengthOf(yield* names, 3)
      const accounts = (core: typeof first.core) => [...core.devices.values()].map(({ jid }) => jid)
      assert.deepStrictEqual(accounts(second.core), accounts(first.core))
    }).pipe(Effect.provide(services)))

  it.live("adds nothing and emits nothing when no devices are requested", () =>
    Effect.gen(function*() {
      const simulator = yield* start({ seed: "demo" })
      assert.strictEqual(yield* Demo.seed(simulator, 0), 0)
      assert.deepStrictEqual(simulator.core.stats().jobs, [])
    }).pipe(Effect.provide(services)))

  it.live("counts only the active devices of the simulator", () =>
    Effect.gen(function*() {
      const devices = yield* DeviceRepository
      yield* Demo.seed(yield* start({ seed: "demo" }), 2)
      const real = DeviceId.make("dev_01ARZ3NDEKTSV4RRFFQ69G5FAV")
      const [name, upstreamId] = [GatewayName.make("default"), UpstreamId.make("real")]
      yield* devices.insert({ id: real, name: "Shop", gateway: name, upstreamId })
      assert.strictEqual(yield* Demo.countSimulated, 2)
    }).pipe(Effect.provide(services)))

  it.live("is hidden from a sink: events of its devices are omitted, also of deactivated ones, and all others are sent", () =>
    Effect.gen(function*() {
      const devices = yield* DeviceRepository
      yield* Demo.seed(yield* start({ seed: "demo" }), 2)
      const real = DeviceId.make("dev_01ARZ3NDEKTSV4RRFFQ69G5FAV")
      const [name, upstreamId] = [GatewayName.make("default"), UpstreamId.make("real")]
      yield* devices.insert({ id: real, name: "Shop", gateway: name, upstreamId })
      const simulated = (yield* devices.list({ limit: 2 })).items.map(({ id }) => id)
      for (const id of simulated) yield* devices.setActive(id, false)
      const ids = yield* Demo.listSimulatedIds
      assert.deepStrictEqual([...ids].sort(), [...simulated].sort())

      const sent: Array<readonly [attempt: number, devices: ReadonlyArray<string>]> = []
      const sink = Demo.withoutDevices({
        name: "double",
        overlap: 4,
        publish: (events, attempt) =>
          Effect.sync(() => void sent.push([attempt, events.map((event) => event.deviceId)]))
      }, ids)
      const event = (deviceId: DeviceId) => ({
        ...messageDraft(deviceId, 1),
        seq: 1,
        recordedAt: "",
        data: "{}",
        bytes: 2
      })
      yield* sink.publish([event(simulated[0]!), event(real), event(simulated[1]!)], 3)
      yield* sink.publish([event(simulated[0]!)], 3)
      assert.deepStrictEqual(sent, [[3, [real]]])
      assert.deepStrictEqual([sink.name, sink.overlap], ["double", 4])
    }).pipe(Effect.provide(services)))

  it.live("lets devices that are added later take part", () =>
    Effect.gen(function*() {
      let now = 0
      const { core } = yield* start({ seed: "demo", now: () => now })
      core.keepEmitting({ rate: 1000 })
      const late = core.addDevice("late")
      now += 10
      core.emitter.tick()
      assert.strictEqual(late.seq, 10)
    }))
})
