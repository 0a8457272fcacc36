/** The keys that a process accepts: how soon it follows the table, and what it does when it cannot. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Fiber, Layer, Redacted, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { ApiKeyId } from "../../src/domain/ApiKey.ts"
import { StorageUnavailable } from "../../src/domain/DeviceErrors.ts"
import { layerMemory } from "../../src/layers/memory/MemoryStorage.ts"
import { ApiKeyRepository } from "../../src/services/ApiKeyRepository.ts"
import { digestKey, makeKeyText } from "../../src/services/apiKeyText.ts"
import { ApiKeys } from "../../src/services/ApiKeys.ts"
import { keyRefreshInterval, KeyDirectory } from "../../src/services/KeyDirectory.ts"

const own = "key-of-the-environment"
const id = `key_${"0".repeat(26)}` as ApiKeyId

/** A directory that receives no notifications, over a table that another process writes. */
const setUp = Effect.gen(function*() {
  const table = Context.get(yield* Layer.build(layerMemory), ApiKeyRepository)
  const state: { away: boolean; broken: "digest" | "defect" | null } = { away: false, broken: null }
  const seen = ApiKeyRepository.of({
    ...table,
    list: Effect.suspend(() => {
      if (state.away) return Effect.fail(StorageUnavailable.of("list the keys"))
      if (state.broken === "defect") return Effect.die("a row that cannot be read")
      if (state.broken === null) return table.list
      return Effect.map(table.list, (rows) =>
        rows.concat(rows.map((row) => ({
          ...row,
          apiKey: { ...row.apiKey, id: `key_${"1".repeat(26)}` as ApiKeyId, name: "odd" },
          digest: new Uint8Array(3)
        }))))
    }),
    changes: Stream.never
  })
  const directory = Context.get(
    yield* Layer.build(KeyDirectory.layer.pipe(
      Layer.provide(Layer.succeed(ApiKeyRepository, seen)),
      Layer.provide(Layer.succeed(
        ApiKeys,
        ApiKeys.of({ keys: [{ name: "root", scopes: ["admin"], devices: undefined, key: Redacted.make(own) }] })
      ))
    )),
    KeyDirectory
  )
  const add = Effect.fnUntraced(function*(expiresAt: string | null = null) {
    const text = Redacted.value(makeKeyText(id))
    yield* table.insert({
      id,
      name: "shop",
      digest: digestKey(text),
      scopes: ["read"],
      devices: null,
      requestsPerSecond: null,
      createdBy: "root",
      expiresAt
    })
    return text
  })
  // Its timer runs from here on.
  yield* TestClock.adjust(1)
  return { add, directory, state, table }
})

describe("the directory of keys", () => {
  it.effect("follows the table within the stated time without notifications, and ends the streams of revoked keys", () =>
    Effect.gen(function*() {
      const { add, directory, table } = yield* setUp
      const text = yield* add()
      assert.isNull(directory.find(text))
      yield* TestClock.adjust(keyRefreshInterval)
      const key = directory.find(text)!
      assert.strictEqual(key.name, "shop")
      const ended = yield* Effect.forkChild(key.ended)
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(ended.pollUnsafe())
      yield* table.delete(id)
      yield* TestClock.adjust(keyRefreshInterval)
      assert.isNull(directory.find(text))
      yield* Fiber.join(ended)
      assert.strictEqual(directory.find(own)?.name, "root")
    }))

  it.effect("refuses a key from its expiry on, and ends its streams within the stated time", () =>
    Effect.gen(function*() {
      const { add, directory, state } = yield* setUp
      const text = yield* add("1970-01-01T00:01:00.000Z")
      yield* directory.refresh
      const ended = yield* Effect.forkChild(directory.find(text)!.ended)
      yield* TestClock.setTime(59_999)
      assert.isNotNull(directory.find(text))
      // Needs no database.
      state.away = true
      yield* TestClock.setTime(60_000)
      assert.isNull(directory.find(text))
      yield* TestClock.adjust(keyRefreshInterval)
      yield* Fiber.join(ended)
    }))

  it.effect("accepts both keys of a rotation until the first one's time is over, without ending streams before", () =>
    Effect.gen(function*() {
      const { add, directory, table } = yield* setUp
      const first = yield* add()
      yield* directory.refresh
      const before = directory.find(first)!
      const ended = yield* Effect.forkChild(before.ended)
      const second = Redacted.value(makeKeyText(id))
      yield* table.rotate(id, digestKey(second), Duration.minutes(1))
      yield* TestClock.adjust(keyRefreshInterval)
      assert.deepStrictEqual([directory.find(first), directory.find(second)?.id], [before, before.id])
      assert.isUndefined(ended.pollUnsafe())
      yield* TestClock.adjust("1 minute")
      assert.isNull(directory.find(first))
      assert.isNotNull(directory.find(second))
      yield* Fiber.join(ended)
    }))

  it.effect("keeps the loaded keys while the table cannot be read, and follows it again after", () =>
    Effect.gen(function*() {
      const { add, directory, state, table } = yield* setUp
      const text = yield* add()
      yield* directory.refresh
      state.away = true
      yield* table.delete(id)
      yield* TestClock.adjust("1 hour")
      assert.isNotNull(directory.find(text))
      state.away = false
      yield* TestClock.adjust(keyRefreshInterval)
      assert.isNull(directory.find(text))
    }))

  it.effect("continues to follow despite a row that no version of this program has written, and after a defect", () =>
    Effect.gen(function*() {
      const { add, directory, state, table } = yield* setUp
      const text = yield* add()
      state.broken = "digest"
      yield* TestClock.adjust(keyRefreshInterval)
      const key = directory.find(text)
      assert.isNotNull(key)
      assert.isNull(directory.find(text.replace(/0{26}/, "1".repeat(26))))
      state.broken = "defect"
      yield* TestClock.adjust(keyRefreshInterval)
      assert.strictEqual(directory.find(text), key)
      state.broken = null
      yield* table.delete(id)
      yield* TestClock.adjust(keyRefreshInterval)
      assert.isNull(directory.find(text))
    }))

  it.effect("finds a key only by its whole text", () =>
    Effect.gen(function*() {
      const { add, directory } = yield* setUp
      const text = yield* add()
      yield* directory.refresh
      const changed = text.endsWith("0") ? "1" : "0"
      for (
        const other of [
          text.slice(0, -1),
          text.slice(0, -1) + changed,
          `${text} `,
          text.toUpperCase(),
          text.replace(/0{26}/, "1".repeat(26)),
          "",
          own.slice(0, -1),
          "environment:root"
        ]
      ) {
        assert.isNull(directory.find(other), other)
      }
      assert.isNotNull(directory.find(text))
    }))
})
