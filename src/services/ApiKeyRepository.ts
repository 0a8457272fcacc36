/** The `api_keys` table. Any process may write it; every process follows it (`KeyDirectory`). */
import { Context } from "effect"
import type { Duration, Effect, Stream } from "effect"
import type { ApiKey, ApiKeyId } from "../domain/ApiKey.ts"
import type { ApiKeyNameTaken, ApiKeyNotFound, TooManyApiKeys } from "../domain/ApiKeyErrors.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"

/** Maximum number of keys: every process holds all of them, and reads the table every few seconds. */
export const apiKeysMax = 500

export interface StoredApiKey {
  readonly apiKey: ApiKey
  /** SHA-256 of the key. */
  readonly digest: Uint8Array
  /** The digest of the key before the last rotation; accepted until `apiKey.previousUntil`. */
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
  /** All keys in order of creation, at most `apiKeysMax`. */
  readonly list: Effect.Effect<ReadonlyArray<StoredApiKey>, StorageUnavailable>
  /** The current digest becomes the previous one, accepted for `keep` from now by the database's clock. */
  readonly rotate: (
    id: ApiKeyId,
    digest: Uint8Array,
    keep: Duration.Duration
  ) => Effect.Effect<StoredApiKey, ApiKeyNotFound | StorageUnavailable>
  readonly delete: (id: ApiKeyId) => Effect.Effect<void, ApiKeyNotFound | StorageUnavailable>
  /**
   * A pulse whenever the table may have changed. There may be pulses without a change, and several changes may share
   * one.
   */
  readonly changes: Stream.Stream<void>
}>()("columba/services/ApiKeyRepository") {}
