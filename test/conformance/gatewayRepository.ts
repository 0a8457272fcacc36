/** The contract of the repository of gateways, for every storage. */
import { assert, layer } from "@effect/vitest"
import { Effect, Fiber, Stream } from "effect"
import type { Layer } from "effect"
import type { GatewayName } from "../../src/domain/Ids.ts"
import { DeviceRepository } from "../../src/services/DeviceRepository.ts"
import { GatewayRepository } from "../../src/services/GatewayRepository.ts"
import type { GatewayFields } from "../../src/services/GatewayRepository.ts"
import { freshDevice } from "../support/drafts.ts"

const fields = (name: string, change: Partial<GatewayFields> = {}): GatewayFields => ({
  name: name as GatewayName,
  dialect: "bridge",
  url: "http://gateway:3000",
  user: "columba",
  sealed: { password: "v1.sealed" },
  source: "api",
  ...change
})

export const gatewayRepositoryConformance = (
  name: string,
  storage: Layer.Layer<GatewayRepository | DeviceRepository>
): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`gateways ${name}`, (it) => {
    it.effect("stores a gateway unchanged, and shows only which of its secrets are set", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        const made = yield* gateways.insert(fields("kept"))
        const { createdAt, updatedAt, ...gateway } = made.gateway
        assert.deepStrictEqual(gateway, {
          name: "kept" as GatewayName,
          dialect: "bridge",
          url: "http://gateway:3000",
          user: "columba",
          secrets: ["password"],
          source: "api",
          active: true
        })
        assert.strictEqual(createdAt, updatedAt)
        assert.deepStrictEqual([made.sealed, made.revision], [{ password: "v1.sealed" }, 1])
        assert.deepStrictEqual(yield* gateways.get(made.gateway.name), made)
        assert.deepInclude(yield* gateways.list, made)
        assert.notInclude(JSON.stringify(made.gateway), "v1.sealed")
      }))

    it.effect("refuses a name that is in use, and reports unknown names", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        yield* gateways.insert(fields("taken"))
        const gone = "gone" as GatewayName
        const failed = [
          gateways.insert(fields("taken")),
          gateways.get(gone),
          gateways.update(gone, {}),
          gateways.delete(gone)
        ]
        const tags = yield* Effect.forEach(failed, (one) =>
          Effect.map(Effect.flip<unknown, { readonly _tag: string }, never>(one), ({ _tag }) => _tag))
        assert.deepStrictEqual(tags, ["GatewayNameTaken", "GatewayNotFound", "GatewayNotFound", "GatewayNotFound"])
      }))

    it.effect("changes the named fields only, with a new revision each time", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        const { gateway: { name } } = yield* gateways.insert(fields("changed"))
        const moved = yield* gateways.update(name, { url: "https://elsewhere", active: false })
        assert.deepInclude(moved.gateway, { url: "https://elsewhere", active: false, user: "columba" })
        assert.deepStrictEqual([moved.sealed, moved.revision], [{ password: "v1.sealed" }, 2])
        const resealed = yield* gateways.update(name, { user: null, sealed: { apiKey: "a", webhookSecret: "w" } })
        assert.deepInclude(resealed.gateway, { user: null, active: false })
        assert.deepStrictEqual(resealed.gateway.secrets, ["apiKey", "webhookSecret"])
        assert.strictEqual(resealed.revision, 3)
      }))

    it.effect("writes only fields that differ on an upsert, and keeps a deactivated gateway deactivated", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        const own = fields("own", { source: "environment", sealed: {} })
        const first = yield* gateways.upsert(own)
        assert.deepStrictEqual(yield* gateways.upsert(own), first)
        yield* gateways.update(first.gateway.name, { active: false })
        const moved = yield* gateways.upsert({ ...own, url: "http://moved" })
        assert.deepInclude(moved.gateway, { url: "http://moved", active: false, secrets: [] })
        assert.strictEqual(moved.revision, 3)
      }))

    it.effect("takes over an existing row on an upsert, with its secrets", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        yield* gateways.insert(fields("over"))
        const taken = yield* gateways.upsert(fields("over", { source: "environment", user: null, sealed: {} }))
        assert.deepInclude(taken.gateway, { source: "environment", user: null, secrets: [] })
        assert.deepStrictEqual(taken.sealed, {})
      }))

    it.effect("removes a gateway only if no active device refers to it", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        const devices = yield* DeviceRepository
        const { gateway: { name } } = yield* gateways.insert(fields("used"))
        const id = freshDevice()
        yield* devices.insert({ id, name: "kasir", gateway: name, upstreamId: id as never })
        const refused = yield* Effect.flip(gateways.delete(name))
        assert(refused._tag === "GatewayInUse")
        assert.strictEqual(refused.devices, 1)
        assert.strictEqual((yield* gateways.get(name)).gateway.name, name)
        yield* devices.setActive(id, false)
        yield* gateways.delete(name)
        assert.strictEqual((yield* Effect.flip(gateways.get(name)))._tag, "GatewayNotFound")
      }))

    it.effect("pulses when a gateway has changed", () =>
      Effect.gen(function*() {
        const gateways = yield* GatewayRepository
        const { gateway: { name } } = yield* gateways.insert(fields("pulse"))
        const heard = yield* Effect.forkChild(gateways.changes.pipe(Stream.take(2), Stream.runDrain))
        while (heard.pollUnsafe() === undefined) {
          yield* gateways.update(name, {})
          yield* Effect.yieldNow
        }
        yield* Fiber.join(heard)
      }))
  })
}
