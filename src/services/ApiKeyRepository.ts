/** The `api_keys` table. Any process may write it; every process follows it (`KeyDirectory`). */
import { Context } from "effect"
import type { Duration, Effect, Stream } from "effect"
import type { ApiKey, ApiKeyId } from "../domain/ApiKey.ts"
import type { ApiKeyNameTaken, ApiKeyNotFound, TooManyApiKeys } from "../domain/ApiKeyErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"

/** How many there may be: every process holds all of them, and reads the table every few seconds. */
export const apiKeysMax = 500

export interface StoredApiKey {
  readonly apiKey: ApiKey
  /** SHA-256 of the key. */
  readonly digest: Uint8Array
  /** Of the key before the last rotation; accepted until `apiKey.previousUntil`. */
  readonly previousDigest: Uint8Array | null
}

export interface ApiKeyFields extends
  Pick<
    ApiKey,
    "id" | "name" | "scopes" | "devices" | "requestsPerSecond" | "createdBy" | "expiresAt"
  >
{
  readonly digest: Uint8Array
}

export class ApiKeyRepository extends Context.Service<ApiKeyRepository, {
  readonly insert: (
    fields: ApiKeyFields
  ) => Effect.Effect<StoredApiKey, ApiKeyNameTaken | TooManyApiKeys | StorageUnavailable>
  readonly get: (id: ApiKeyId) => Effect.Effect<StoredApiKey, ApiKeyNotFound | StorageUnavailable>
  /** In order of creation; all of them, of which there are at most `apiKeysMax`. */
  readonly list: Effect.Effect<ReadonlyArray<StoredApiKey>, StorageUnavailable>
  /** The digest that was there becomes the previous one, accepted for `keep` from now by the database's clock. */
  readonly rotate: (
    id: ApiKeyId,
    digest: Uint8Array,
    keep: Duration.Duration
  ) => Effect.Effect<StoredApiKey, ApiKeyNotFound | StorageUnavailable>
  readonly delete: (id: ApiKeyId) => Effect.Effect<void, ApiKeyNotFound | StorageUnavailable>
  /** A pulse whenever the table may have changed. Pulses may come for nothing and several may fall into one. */
  readonly changes: Stream.Stream<void>
}>()("columba/services/ApiKeyRepository") {}
