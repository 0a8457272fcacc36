/**
 * The operations of people on API keys. A change is durable when an operation returns; the answering process follows
 * at once, the others within `keyRefreshInterval`. A key is returned once and stored as a digest.
 */
import { Clock, Context, Effect, Layer, Redacted } from "effect"
import type { Duration } from "effect"
import { SecureRandom } from "effect/crypto"
import type { CurrentCaller } from "../contracts/Authorization.ts"
import { ApiKeyId } from "../domain/ApiKey.ts"
import type { ApiKey, Scope } from "../domain/ApiKey.ts"
import { ApiKeyNameTaken, ExpiryPassed, KeysNotAsked, ScopeNotHeld } from "../domain/ApiKeyErrors.ts"
import type { ApiKeyNotFound, TooManyApiKeys } from "../domain/ApiKeyErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { parseTimestamp } from "../domain/Ids.ts"
import type { DeviceId } from "../domain/Ids.ts"
import { digestKey, makeKeyText } from "./apiKeyText.ts"
import { ApiKeyRepository } from "./ApiKeyRepository.ts"
import { KeyDirectory } from "./KeyDirectory.ts"

export interface NewApiKey {
  readonly name: string
  readonly scopes: ReadonlyArray<Scope>
  readonly devices?: ReadonlyArray<DeviceId> | undefined
  readonly expiresAt?: string | undefined
  readonly requestsPerSecond?: number | undefined
}

export type WithKey = ApiKey & { readonly key: Redacted.Redacted }

type Caller = CurrentCaller["Service"]
type Missing = ApiKeyNotFound | StorageUnavailable

export class KeyManager extends Context.Service<KeyManager, {
  readonly create: (
    wanted: NewApiKey,
    caller: Caller
  ) => Effect.Effect<
    WithKey,
    ApiKeyNameTaken | TooManyApiKeys | ScopeNotHeld | ExpiryPassed | KeysNotAsked | StorageUnavailable
  >
  readonly list: Effect.Effect<ReadonlyArray<ApiKey>, StorageUnavailable>
  readonly get: (id: ApiKeyId) => Effect.Effect<ApiKey, Missing>
  readonly revoke: (id: ApiKeyId) => Effect.Effect<void, Missing>
  /** The previous key is accepted too for `keep`. */
  readonly rotate: (
    id: ApiKeyId,
    keep: Duration.Duration,
    caller: Caller
  ) => Effect.Effect<WithKey, ScopeNotHeld | Missing>
}>()("columba/services/KeyManager") {
  static readonly layer = Layer.effect(
    KeyManager,
    Effect.gen(function*() {
      const repository = yield* ApiKeyRepository
      const directory = yield* KeyDirectory
      const random = yield* SecureRandom.SecureRandom
      const followed = <A, E>(change: Effect.Effect<A, E>) => Effect.tap(change, () => directory.refresh)

      const create: KeyManager["Service"]["create"] = Effect.fn("KeyManager.create")(function*(wanted, caller) {
        if (directory.open) return yield* KeysNotAsked.instance
        yield* checkHeld(wanted.scopes, caller)
        if (directory.brings(wanted.name)) return yield* ApiKeyNameTaken.of(wanted.name)
        const expiresAt = wanted.expiresAt ?? null
        // Also refuses a text that is no time.
        if (expiresAt !== null && !((parseTimestamp(expiresAt) ?? 0) > (yield* Clock.currentTimeMillis))) {
          return yield* ExpiryPassed.instance
        }
        const id = ApiKeyId.make(`key_${yield* random.ulid}`)
        const key = makeKeyText(id)
        const { apiKey } = yield* followed(repository.insert({
          id,
          name: wanted.name,
          digest: digestKey(Redacted.value(key)),
          scopes: wanted.scopes,
          devices: wanted.devices ?? null,
          requestsPerSecond: wanted.requestsPerSecond ?? null,
          createdBy: caller.name,
          expiresAt: expiresAt === null ? null : new Date(expiresAt).toISOString()
        }))
        return { ...apiKey, key }
      })

      const rotate: KeyManager["Service"]["rotate"] = Effect.fn("KeyManager.rotate")(function*(id, keep, caller) {
        const before = yield* repository.get(id)
        yield* checkHeld(before.apiKey.scopes, caller)
        const key = makeKeyText(id)
        const { apiKey } = yield* followed(repository.rotate(id, digestKey(Redacted.value(key)), keep))
        return { ...apiKey, key }
      })

      return KeyManager.of({
        create,
        list: Effect.map(repository.list, (rows) => rows.map(({ apiKey }) => apiKey)),
        get: (id) => Effect.map(repository.get(id), ({ apiKey }) => apiKey),
        revoke: (id) => followed(repository.delete(id)),
        rotate
      })
    })
  ).pipe(Layer.provide(SecureRandom.layerWebCrypto))
}

/** The caller gets the key, so it could otherwise give itself scopes that it lacks. */
const checkHeld = (scopes: ReadonlyArray<Scope>, caller: Caller): Effect.Effect<void, ScopeNotHeld> => {
  const missing = scopes.find((scope) => !caller.scopes.has(scope))
  return missing === undefined ? Effect.void : Effect.fail(ScopeNotHeld.of(caller.name, missing))
}
