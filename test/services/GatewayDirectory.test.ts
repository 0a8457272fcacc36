/** Which gateways a process can use, and that open gateways follow the table. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Redacted, Result, Stream } from "effect"
import * as MemoryStorage from "../../src/layers/memory/MemoryStorage.ts"
import * as AesSecretSeal from "../../src/layers/secrets/AesSecretSeal.ts"
import type { GatewayName } from "../../src/domain/Ids.ts"
import { GatewayAdapters } from "../../src/services/GatewayAdapters.ts"
import type { GatewayConnection } from "../../src/services/GatewayAdapters.ts"
import { GatewayDirectory, useGateway } from "../../src/services/GatewayDirectory.ts"
import type { OwnGateway } from "../../src/services/GatewayDirectory.ts"
import { GatewayManager } from "../../src/services/GatewayManager.ts"
import { GatewayRepository } from "../../src/services/GatewayRepository.ts"
import type { SecretKey } from "../../src/services/SecretSeal.ts"
import { ScriptedGateway } from "../support/scriptedGateway.ts"

const east = "east" as GatewayName
const makeKey = (fill: number): SecretKey => Redacted.make<Uint8Array>(new Uint8Array(32).fill(fill))

const own: OwnGateway = {
  name: "default" as GatewayName,
  dialect: "bridge",
  url: "http://gateway",
  user: "columba",
  secrets: { password: Redacted.make("of the environment") },
  source: "environment"
}

/** A process over some storage: the gateways that it opened are in `opened`, in order. */
const makeProcess = (
  opened: Array<GatewayConnection>,
  options: { readonly own?: ReadonlyArray<OwnGateway>; readonly keys?: ReadonlyArray<SecretKey> } = {}
) =>
  GatewayManager.layer.pipe(
    Layer.provideMerge(GatewayDirectory.layer(options.own ?? [])),
    Layer.provide(AesSecretSeal.layer(options.keys ?? [makeKey(1)])),
    Layer.provide(Layer.succeed(
      GatewayAdapters,
      GatewayAdapters.of({
        byDialect: new Map([["bridge", (connection) =>
          Effect.sync(() => {
            opened.push(connection)
            return Object.assign(new ScriptedGateway(), { name: connection.name })
          })]])
      })
    )),
    Layer.orDie
  )

/** On new storage. */
const alone = (process: ReturnType<typeof makeProcess>) =>
  Layer.provideMerge(process, Layer.fresh(MemoryStorage.layerMemory))

const newGateway = {
  name: east,
  dialect: "bridge",
  url: Redacted.make("http://east"),
  user: "columba",
  password: Redacted.make("sealed away")
} as const

const use = (name: GatewayName) =>
  Effect.flatMap(
    GatewayDirectory,
    (directory) => useGateway(directory, name, ({ description }) => Effect.succeed(description))
  )

describe("the directory of gateways", () => {
  it.effect("opens a gateway with its secrets, once for all users", () => {
    const opened: Array<GatewayConnection> = []
    return Effect.gen(function*() {
      const manager = yield* GatewayManager
      yield* manager.create(newGateway)
      yield* Effect.all([use(east), use(east), use(east)], { concurrency: "unbounded" })
      assert.strictEqual(opened.length, 1)
      assert.deepInclude(opened[0], { name: east, url: "http://east", user: "columba" })
      assert.strictEqual(Redacted.value(opened[0]!.secrets.password!), "sealed away")
      const stored = yield* Effect.flatMap(GatewayRepository, ({ get }) => get(east))
      assert.notInclude(JSON.stringify(stored), "sealed away")
    }).pipe(Effect.provide(alone(makeProcess(opened))))
  })

  it.effect("opens another gateway for a changed row, which a holder of the old one can see", () => {
    const opened: Array<GatewayConnection> = []
    return Effect.gen(function*() {
      const manager = yield* GatewayManager
      const directory = yield* GatewayDirectory
      yield* manager.create(newGateway)
      const pulse = yield* Effect.forkChild(Stream.runDrain(Stream.take(directory.changes, 1)))
      yield* Effect.yieldNow
      const before = yield* Effect.fromResult(directory.current(east))
      yield* use(east)
      yield* manager.edit(east, { password: Redacted.make("a new one") })
      yield* Fiber.join(pulse)
      const after = yield* Effect.fromResult(directory.current(east))
      assert.notStrictEqual(after, before)
      yield* use(east)
      assert.deepStrictEqual(opened.map(({ secrets }) => Redacted.value(secrets.password!)), [
        "sealed away",
        "a new one"
      ])
      yield* manager.edit(east, { active: false })
      assert(Result.isFailure(directory.current(east)))
      yield* manager.remove(east)
      assert.strictEqual((yield* Effect.flip(use(east)))._tag, "GatewayUnknown")
    }).pipe(Effect.provide(alone(makeProcess(opened))))
  })

  it.effect("writes a gateway of this process again into a table that has lost it", () =>
    Effect.gen(function*() {
      const directory = yield* GatewayDirectory
      const repository = yield* GatewayRepository
      yield* repository.delete(own.name)
      yield* directory.refresh
      assert.strictEqual((yield* repository.get(own.name)).gateway.source, "environment")
      yield* use(own.name)
    }).pipe(Effect.provide(alone(makeProcess([], { own: [own] })))))

  it.effect("keeps the gateway on an edit that changes nothing", () =>
    Effect.gen(function*() {
      const manager = yield* GatewayManager
      const directory = yield* GatewayDirectory
      const made = yield* manager.create(newGateway)
      const before = yield* Effect.fromResult(directory.current(east))
      const edits = [{}, { active: true }, { url: Redacted.make("http://east/") }, { user: "columba" }]
      for (const edit of edits) assert.deepStrictEqual(yield* manager.edit(east, edit), made)
      assert.strictEqual(yield* Effect.fromResult(directory.current(east)), before)
    }).pipe(Effect.provide(alone(makeProcess([])))))

  it.effect("stores the gateway of the environment as a row without secrets, and keeps them in the process", () => {
    const opened: Array<GatewayConnection> = []
    return Effect.gen(function*() {
      const row = yield* Effect.flatMap(GatewayRepository, ({ get }) => get(own.name))
      assert.deepInclude(row.gateway, { source: "environment", url: "http://gateway", secrets: [] })
      assert.deepStrictEqual(row.sealed, {})
      yield* use(own.name)
      assert.strictEqual(Redacted.value(opened[0]!.secrets.password!), "of the environment")
    }).pipe(Effect.provide(alone(makeProcess(opened, { own: [own] }))))
  })

  it.effect("states which variables, simulator or key a process lacks", () => {
    const reasons = (name: GatewayName) =>
      Effect.map(Effect.flip(use(name)), (error) => "reason" in error && error.reason)
    const simulator = { ...own, name: "simulator" as GatewayName, source: "simulator" } as const
    return Effect.gen(function*() {
      yield* Effect.provide(
        Effect.flatMap(GatewayManager, ({ create }) => create(newGateway)),
        makeProcess([], { own: [own, simulator] })
      )
      const found = yield* Effect.provide(
        Effect.all([reasons(own.name), reasons(simulator.name), reasons(east)]),
        makeProcess([], { keys: [makeKey(2)] })
      )
      assert.deepStrictEqual(found, ["no-variables", "no-simulator", "secrets-unreadable"])
    }).pipe(Effect.provide(Layer.fresh(MemoryStorage.layerMemory)))
  })

  it.effect("works without any gateway", () =>
    Effect.gen(function*() {
      const directory = yield* GatewayDirectory
      assert.deepStrictEqual(yield* directory.list, [])
      const refused = yield* Effect.flip(useGateway(directory, undefined, () => Effect.void))
      assert.strictEqual(refused._tag, "GatewayUnknown")
      assert.include(refused.message, "columba gateways add")
    }).pipe(Effect.provide(alone(makeProcess([])))))
})
