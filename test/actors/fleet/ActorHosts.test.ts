/** The state that devices of one gateway share, and how long it exists. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import { ActorHosts } from "../../../src/actors/fleet/ActorHosts.ts"
import { DatabaseTime } from "../../../src/actors/fleet/DatabaseTime.ts"
import { HandOvers } from "../../../src/actors/fleet/HandOvers.ts"
import type { GatewayName } from "../../../src/domain/Ids.ts"
import * as MemoryStorage from "../../../src/layers/memory/MemoryStorage.ts"
import { EventLog } from "../../../src/services/EventLog.ts"
import { GatewayDirectory } from "../../../src/services/GatewayDirectory.ts"
import { device } from "../../support/fleetBench.ts"
import { ScriptedGateway } from "../../support/scriptedGateway.ts"

const unused = Effect.die("admitting a device appends nothing and reads nothing")

const log = EventLog.of({
  append: () => unused,
  push: () => true,
  hasRoom: () => true,
  pushEffects: () => {},
  onRoom: () => () => {},
  flush: unused,
  read: () => unused,
  locate: () => unused,
  follow: () => Stream.never,
  followEach: () => Effect.never,
  latest: () => unused,
  generation: () => 0,
  bounds: unused,
  claimCursor: () => unused,
  resumeCursor: () => unused,
  moveCursor: () => unused,
  cursors: unused,
  deleteOlderThan: () => unused,
  mergeIdentities: unused,
  eraseChat: () => unused,
  eraseDevice: () => unused
})

const other = "other" as GatewayName

const layer = Layer.suspend(() => {
  const gateways = [new ScriptedGateway(), Object.assign(new ScriptedGateway(), { name: other })]
  return Layer.fresh(ActorHosts.layer).pipe(
    Layer.provide(HandOvers.layer),
    Layer.provide(Layer.succeed(EventLog, log)),
    Layer.provide(MemoryStorage.layerMemory),
    Layer.provide(Layer.succeed(DatabaseTime, DatabaseTime.of({ now: () => 0, at: (at) => at }))),
    Layer.provide(GatewayDirectory.layerFixed(gateways))
  )
})

/** The cell of a device, and a function by which the device leaves. */
const admit = Effect.fnUntraced(function*(n: number, gateway = "default" as GatewayName) {
  const hosts = yield* ActorHosts
  const cell = yield* hosts.admit(device(n, { gateway }))
  return { cell, leave: hosts.dismiss(cell) }
})

describe("the hosts of actors", () => {
  it.effect("let devices of one gateway share a host, and give devices of another gateway a different one", () =>
    Effect.gen(function*() {
      const [one, two, three] = [yield* admit(1), yield* admit(2), yield* admit(3, other)]
      assert.strictEqual(one.cell.host, two.cell.host)
      assert.notStrictEqual(one.cell.host, three.cell.host)
      assert.notStrictEqual(one.cell.host.gate, three.cell.host.gate)
      assert.strictEqual(one.cell.host.meter, three.cell.host.meter)
    }).pipe(Effect.provide(layer)))

  it.effect("keep a host as long as one device of its gateway remains, and create a new one after that", () =>
    Effect.gen(function*() {
      const [one, two] = [yield* admit(1), yield* admit(2)]
      yield* one.leave
      const three = yield* admit(3)
      assert.strictEqual(three.cell.host, two.cell.host)
      yield* two.leave
      yield* three.leave
      assert.notStrictEqual((yield* admit(4)).cell.host, two.cell.host)
    }).pipe(Effect.provide(layer)))

  it.effect("count a device until it leaves, in its current state", () =>
    Effect.gen(function*() {
      const hosts = yield* ActorHosts
      const { leave } = yield* admit(1)
      assert.strictEqual(hosts.counts().Inactive, 1)
      yield* leave
      assert.strictEqual(hosts.counts().Inactive, 0)
    }).pipe(Effect.provide(layer)))

  it.effect("refuse an unknown gateway by name, and keep nothing of it", () =>
    Effect.gen(function*() {
      const hosts = yield* ActorHosts
      const refused = yield* Effect.flip(hosts.admit(device(1, { gateway: "gone" as GatewayName })))
      assert(refused._tag === "GatewayUnknown")
      assert.deepStrictEqual(refused.known, ["default", "other"])
      assert.strictEqual(hosts.counts().Inactive, 0)
    }).pipe(Effect.provide(layer)))
})
