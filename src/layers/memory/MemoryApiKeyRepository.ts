/** The `api_keys` table in memory. */
import { Duration, Effect, Layer, PubSub, Stream } from "effect"
import type { ApiKeyId } from "../../domain/ApiKey.ts"
import { ApiKeyNameTaken, ApiKeyNotFound, TooManyApiKeys } from "../../domain/ApiKeyErrors.ts"
import { ApiKeyRepository, apiKeysMax } from "../../services/ApiKeyRepository.ts"
import type { StoredApiKey } from "../../services/ApiKeyRepository.ts"
import { MemoryDatabase } from "./MemoryDatabase.ts"

/** One pending change is enough: a reader reads the whole table. */
const changesMax = 1

export const layer: Layer.Layer<ApiKeyRepository, never, MemoryDatabase> = Layer.effect(
  ApiKeyRepository,
  Effect.gen(function*() {
    const { now } = yield* MemoryDatabase
    const changes = yield* PubSub.sliding<void>(changesMax)
    const rows = new Map<ApiKeyId, StoredApiKey>()
    const isoIn = (keep: Duration.Duration) => new Date(now() + Duration.toMillis(keep)).toISOString()
    const announce = PubSub.publish(changes, undefined)
    const find = (id: ApiKeyId) =>
      Effect.suspend(() => {
        const row = rows.get(id)
        return row === undefined ? Effect.fail(ApiKeyNotFound.of(id)) : Effect.succeed(row)
      })
    const put = (row: StoredApiKey) =>
      Effect.suspend(() => {
        rows.set(row.apiKey.id, row)
        return Effect.as(announce, row)
      })

    return ApiKeyRepository.of({
      insert: ({ digest, ...fields }) =>
        Effect.suspend((): Effect.Effect<StoredApiKey, ApiKeyNameTaken | TooManyApiKeys> => {
          if ([...rows.values()].some(({ apiKey }) => apiKey.name === fields.name)) {
            return Effect.fail(ApiKeyNameTaken.of(fields.name))
          }
          if (rows.size >= apiKeysMax) return Effect.fail(TooManyApiKeys.of(apiKeysMax))
          const createdAt = isoIn(Duration.zero)
          // In the format in which the database returns it.
          const expiresAt = fields.expiresAt === null ? null : new Date(fields.expiresAt).toISOString()
          const apiKey = { ...fields, createdAt, expiresAt, rotatedAt: null, previousUntil: null }
          return put({ apiKey, digest, previousDigest: null })
        }),
      get: find,
      list: Effect.sync(() => [...rows.values()]),
      rotate: (id, digest, keep) =>
        Effect.flatMap(find(id), ({ apiKey, digest: previousDigest }) =>
          put({
            apiKey: { ...apiKey, rotatedAt: isoIn(Duration.zero), previousUntil: isoIn(keep) },
            digest,
            previousDigest
          })),
      delete: (id) =>
        Effect.flatMap(find(id), () =>
          Effect.suspend(() => {
            rows.delete(id)
            return Effect.asVoid(announce)
          })),
      changes: Stream.fromPubSub(changes)
    })
  })
)
