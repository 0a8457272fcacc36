/** The secrets with which gateways sign: what they depend on, and that they do not change between versions. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Redacted } from "effect"
import type { DeviceId, GatewayName } from "../../src/domain/Ids.ts"
import { WebhookSecrets } from "../../src/services/WebhookSecrets.ts"

const key = (byte: number) => Redacted.make<Uint8Array>(new Uint8Array(32).fill(byte))

const derive = (keys: ReadonlyArray<number>, gateway: string, device: string) =>
  Effect.map(
    WebhookSecrets,
    (secrets) => secrets.of(gateway as GatewayName, device as DeviceId).map((secret) => Redacted.value(secret))
  ).pipe(
    Effect.provide(WebhookSecrets.layer(keys.map(key)))
  )

describe("a device's own webhook secret", () => {
  it.effect("is the one that gateways received from earlier versions", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* derive([7], "default", "dev_01K5ZQ4J7V8XW2M3N6P9R0S1T4"), [
        "32344a9fe2356218c14158d46d8817f0d94a8b5ed90211d41e146362449fc2da"
      ])
    }))

  it.effect("depends on the key, the gateway and the device, and exists once per key", () =>
    Effect.gen(function*() {
      const all = [
        ...(yield* derive([1, 2], "default", "dev_A")),
        ...(yield* derive([1], "other", "dev_A")),
        ...(yield* derive([1], "default", "dev_B"))
      ]
      assert.strictEqual(new Set(all).size, 4)
      assert.deepStrictEqual(yield* derive([], "default", "dev_A"), [])
      assert.deepStrictEqual((yield* derive([2, 1], "default", "dev_A")).toReversed(), all.slice(0, 2))
    }))
})
