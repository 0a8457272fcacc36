/** The contract of the repository of API keys, for every storage. */
import { assert, layer } from "@effect/vitest"
import { Duration, Effect, Fiber, Redacted, Stream } from "effect"
import type { Layer } from "effect"
import type { ApiKeyId } from "../../src/domain/ApiKey.ts"
import { ApiKeyRepository, apiKeysMax } from "../../src/services/ApiKeyRepository.ts"
import type { ApiKeyFields } from "../../src/services/ApiKeyRepository.ts"
import { digestKey, makeKeyText } from "../../src/services/apiKeyText.ts"
import { freshDevice } from "../support/drafts.ts"

let count = 0
const freshId = () => `key_${String(++count).padStart(26, "0")}` as ApiKeyId
const digest = (id: ApiKeyId) => digestKey(Redacted.value(makeKeyText(id)))

const fields = (change: Partial<ApiKeyFields> = {}): ApiKeyFields => {
  const id = freshId()
  return {
    id,
    name: id.replace("key_", "caller-"),
    digest: digest(id),
    scopes: ["read"],
    devices: null,
    requestsPerSecond: null,
    createdBy: "operator",
    expiresAt: null,
    ...change
  }
}

export const apiKeyRepositoryConformance = (name: string, storage: Layer.Layer<ApiKeyRepository>): void => {
  layer(storage, { excludeTestServices: true, timeout: "180 seconds" })(`API keys ${name}`, (it) => {
    it.effect("are stored unchanged and listed in order of creation", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeyRepository
        const wanted = fields({
          scopes: ["send", "admin"],
          devices: [freshDevice(), freshDevice()],
          requestsPerSecond: 7,
          expiresAt: "2027-01-31T00:00:00.000Z"
        })
        const { digest, ...asked } = wanted
        const made = yield* keys.insert(wanted)
        assert.deepInclude(made.apiKey, { ...asked, rotatedAt: null, previousUntil: null })
        assert.deepStrictEqual(Buffer.from(made.digest), digest)
        assert.isNull(made.previousDigest)
        assert.deepStrictEqual(yield* keys.get(wanted.id), made)
        const next = yield* keys.insert(fields())
        assert.deepStrictEqual((yield* keys.list).slice(-2), [made, next])
      }))

    it.effect("have unique names; a name is free again once its key is revoked", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeyRepository
        const { apiKey: { id, name } } = yield* keys.insert(fields())
        assert.strictEqual((yield* Effect.flip(keys.insert(fields({ name }))))._tag, "ApiKeyNameTaken")
        yield* keys.delete(id)
        for (const call of [keys.get(id), keys.delete(id), keys.rotate(id, digest(id), Duration.zero)]) {
          assert.strictEqual(
            (yield* Effect.flip<unknown, { readonly _tag: string }, never>(call))._tag,
            "ApiKeyNotFound"
          )
        }
        assert.strictEqual((yield* keys.insert(fields({ name }))).apiKey.name, name)
      }))

    it.effect("keep the previous digest after a rotation; after two rotations only the last previous one", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeyRepository
        const { apiKey: { id }, digest: first } = yield* keys.insert(fields())
        const second = digest(id)
        const rotated = yield* keys.rotate(id, second, Duration.hours(1))
        assert.deepStrictEqual([rotated.digest, rotated.previousDigest].map((one) => Buffer.from(one!)), [
          second,
          Buffer.from(first)
        ])
        const { previousUntil, rotatedAt } = rotated.apiKey
        assert.strictEqual(Date.parse(previousUntil!) - Date.parse(rotatedAt!), Duration.toMillis(Duration.hours(1)))
        const again = yield* keys.rotate(id, digest(id), Duration.zero)
        assert.deepStrictEqual(Buffer.from(again.previousDigest!), second)
        assert.deepStrictEqual(yield* keys.get(id), again)
      }))

    it.effect("signal each change", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeyRepository
        const { apiKey: { id } } = yield* keys.insert(fields())
        for (const change of [keys.rotate(id, digest(id), Duration.zero), keys.delete(id)]) {
          const pulse = yield* Stream.runHead(keys.changes).pipe(Effect.forkChild({ startImmediately: true }))
          yield* Effect.asVoid(change)
          yield* Fiber.join(pulse)
        }
      }))

    it.effect("are bounded in number", () =>
      Effect.gen(function*() {
        const keys = yield* ApiKeyRepository
        const there = (yield* keys.list).length
        const added = yield* Effect.forEach(
          Array.from({ length: apiKeysMax - there }),
          () => keys.insert(fields())
        )
        assert.strictEqual((yield* Effect.flip(keys.insert(fields())))._tag, "TooManyApiKeys")
        for (const { apiKey } of added) yield* keys.delete(apiKey.id)
        yield* keys.insert(fields())
      }))
  })
}
