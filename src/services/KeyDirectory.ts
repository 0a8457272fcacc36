/**
 * The keys that this process accepts now: those of the environment, and the rows of the table, which it follows. A key
 * that is revoked, rotated out or expired is no longer found, and streams opened with it end (`ended`).
 *
 * While the database cannot be reached, the rows that were read last stay: nobody can revoke a key then either.
 */
import { Clock, Context, Deferred, Duration, Effect, Layer, Redacted, Semaphore, Stream } from "effect"
import type { Scope as EffectScope } from "effect"
import type { VisibleDevices } from "../contracts/Authorization.ts"
import type { ApiKeyId, Scope } from "../domain/ApiKey.ts"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { digestKey, isSameDigest, readKeyId } from "./apiKeyText.ts"
import { ApiKeyRepository } from "./ApiKeyRepository.ts"
import type { StoredApiKey } from "./ApiKeyRepository.ts"
import { ApiKeys } from "./ApiKeys.ts"

/**
 * The table is read this often even without a notice of a change, and expired keys are looked for. It is the time
 * within which a revocation takes effect wherever the database can be reached.
 */
export const keyRefreshInterval = Duration.seconds(5)

/** A key that is accepted, and who calls with it. */
export interface KnownKey {
  /** Distinguishes keys: the same for a key and its rotated successor. */
  readonly id: string
  readonly name: string
  readonly scopes: ReadonlySet<Scope>
  readonly devices: VisibleDevices
  /** Null for the server's own limit. */
  readonly requestsPerSecond: number | null
  /** Returns when the key is no longer accepted. */
  readonly ended: Effect.Effect<void>
}

export class KeyDirectory extends Context.Service<KeyDirectory, {
  /** No keys are configured: nobody is asked for one. The environment alone decides that, so it cannot change. */
  readonly open: boolean
  /** Null for a text that is no accepted key. Takes the same time for every text of the same form. */
  readonly find: (text: string) => KnownKey | null
  /** Whether the environment of this process has a key of this name. */
  readonly brings: (name: string) => boolean
  /** Reads the table now. If that fails, the loaded rows stay. */
  readonly refresh: Effect.Effect<void>
}>()("columba/services/KeyDirectory") {
  static readonly layer = Layer.effect(KeyDirectory, Effect.suspend(() => make))
}

/** A digest that is accepted. */
interface Credential {
  readonly digest: Uint8Array
  readonly key: KnownKey
  /** Milliseconds of the clock; `Infinity` for never. */
  readonly until: number
  readonly ending: Deferred.Deferred<void>
}

/** Compared with if no row has the id, so that an unknown id takes as long as a known one. */
const noDigest = new Uint8Array(32)

const make: Effect.Effect<
  KeyDirectory["Service"],
  StorageUnavailable,
  ApiKeys | ApiKeyRepository | EffectScope.Scope
> = Effect.gen(function*() {
  const repository = yield* ApiKeyRepository
  const clock = yield* Clock.Clock
  const own = (yield* ApiKeys).keys.map(({ devices, key, name, scopes }) => ({
    digest: digestKey(Redacted.value(key)),
    key: {
      id: `environment:${name}`,
      name,
      scopes: new Set(scopes),
      devices,
      requestsPerSecond: null,
      ended: Effect.never
    } satisfies KnownKey
  }))
  let rows: ReadonlyMap<ApiKeyId, ReadonlyArray<Credential>> = new Map()

  const find = (text: string): KnownKey | null => {
    const digest = digestKey(text)
    const now = clock.currentTimeMillisUnsafe()
    let found: KnownKey | null = null
    // All are compared, as digests of equal length, so the time does not reveal which key is similar.
    for (const { digest: known, key } of own) if (isSameDigest(digest, known)) found = key
    const id = readKeyId(text)
    const candidates = id === null ? [] : rows.get(id) ?? []
    for (let index = 0; index < credentialsMax; index++) {
      const candidate = candidates[index]
      if (isSameDigest(digest, candidate?.digest ?? noDigest) && candidate !== undefined && now < candidate.until) {
        found = candidate.key
      }
    }
    return found
  }

  /** Keys that stay remain the same objects, so that fibers waiting for their end continue to wait. */
  const follow = (listed: ReadonlyArray<StoredApiKey>): void => {
    const before = [...rows.values()].flat()
    const now = clock.currentTimeMillisUnsafe()
    rows = new Map(listed.map((row) => [row.apiKey.id, toCredentials(row, before).filter(({ until }) => now < until)]))
    const kept = new Set([...rows.values()].flat().map(({ ending }) => ending))
    for (const { ending } of before) if (!kept.has(ending)) Deferred.doneUnsafe(ending, Effect.void)
  }

  const turn = Semaphore.makeUnsafe(1)
  const read = turn.withPermit(Effect.map(repository.list, follow))
  /** Expiry needs no database. */
  const expire = Effect.sync(() => {
    const now = clock.currentTimeMillisUnsafe()
    for (const { ending, until } of [...rows.values()].flat()) {
      if (now >= until) Deferred.doneUnsafe(ending, Effect.void)
    }
  })
  let warned = false
  const failed = (error: unknown): Effect.Effect<void> =>
    Effect.suspend(() => {
      const first = !warned
      warned = true
      return Effect.andThen(
        first ? Effect.logWarning("API keys could not be read; those known stay as they are", error) : Effect.void,
        expire
      )
    })
  // After a defect too: a process that no longer follows the table would accept revoked keys.
  const refresh = read.pipe(
    Effect.tap(() =>
      Effect.sync(() => {
        warned = false
      })
    ),
    Effect.catch(failed),
    Effect.catchDefect(failed)
  )

  // A server without configured keys does not need them.
  if (own.length > 0) {
    yield* read
    yield* Effect.forkScoped(
      Stream.merge(repository.changes, Stream.tick(keyRefreshInterval)).pipe(
        Stream.buffer({ capacity: 1, strategy: "sliding" }),
        Stream.runForEach(() => refresh)
      )
    )
  }
  return KeyDirectory.of({
    open: own.length === 0,
    find,
    brings: (name) => own.some(({ key }) => key.name === name),
    refresh
  })
})

/** For one row: the key, and the one before the last rotation. */
const credentialsMax = 2

const toCredentials = (
  { apiKey, digest, previousDigest }: StoredApiKey,
  before: ReadonlyArray<Credential>
): ReadonlyArray<Credential> => {
  const expiry = apiKey.expiresAt === null ? Infinity : Date.parse(apiKey.expiresAt)
  const overlap = apiKey.previousUntil === null ? -Infinity : Math.min(expiry, Date.parse(apiKey.previousUntil))
  const credential = (digest: Uint8Array, until: number): Credential => {
    const known = before.find((one) => one.key.id === apiKey.id && isSameDigest(one.digest, digest))
    const ending = known?.ending ?? Deferred.makeUnsafe<void>()
    return {
      digest,
      until,
      ending,
      key: known?.key ?? {
        id: apiKey.id,
        name: apiKey.name,
        scopes: new Set(apiKey.scopes),
        devices: apiKey.devices ?? undefined,
        requestsPerSecond: apiKey.requestsPerSecond,
        ended: Deferred.await(ending)
      }
    }
  }
  return [
    credential(digest, expiry),
    ...(previousDigest === null ? [] : [credential(previousDigest, overlap)])
  ]
}
