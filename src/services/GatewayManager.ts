/**
 * The operations of people and programs on gateways. A change is durable when an operation returns; every process
 * follows the table, so devices reconnect or stop within seconds wherever they live. Secrets are sealed when they are
 * stored and never returned.
 */
import { Context, Effect, Layer, Redacted, Schema } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import { GatewayUser, isSameServer, parseGatewayUrl } from "../domain/Gateway.ts"
import type { Gateway, GatewayDialect, GatewaySecretName } from "../domain/Gateway.ts"
import {
  DialectUnsupported,
  GatewayNotEditable,
  GatewaySecretsNeeded,
  GatewayUrlInvalid
} from "../domain/GatewayErrors.ts"
import type { GatewayInUse, GatewayNameTaken, GatewayNotFound, SecretKeyMissing } from "../domain/GatewayErrors.ts"
import type { GatewayName } from "../domain/Ids.ts"
import { GatewayAdapters } from "./GatewayAdapters.ts"
import { GatewayDirectory } from "./GatewayDirectory.ts"
import { GatewayRepository } from "./GatewayRepository.ts"
import type { GatewayChange, SealedSecrets, StoredGateway } from "./GatewayRepository.ts"
import { SecretSeal } from "./SecretSeal.ts"

/** Secrets in a request: a text sets one, null removes it, absent leaves it. */
export type SecretChanges = { readonly [Field in GatewaySecretName]?: Redacted.Redacted | null | undefined }

export interface NewGateway extends SecretChanges {
  readonly name: GatewayName
  readonly dialect: GatewayDialect
  /** May contain `user:password@`; both are removed from it. */
  readonly url: Redacted.Redacted
  readonly user?: string | null | undefined
}

export interface GatewayEdit extends SecretChanges {
  readonly url?: Redacted.Redacted | undefined
  readonly user?: string | null | undefined
  readonly active?: boolean | undefined
}

const secretNames = ["password", "apiKey", "webhookSecret"] as const satisfies ReadonlyArray<GatewaySecretName>

/** The secrets that are sent to the gateway. The webhook secret only verifies the gateway's requests. */
const sentSecretNames = ["password", "apiKey"] as const satisfies ReadonlyArray<GatewaySecretName>

export class GatewayManager extends Context.Service<GatewayManager, {
  readonly create: (gateway: NewGateway) => Effect.Effect<
    Gateway,
    DialectUnsupported | GatewayUrlInvalid | GatewayNameTaken | SecretKeyMissing | StorageUnavailable
  >
  readonly list: Effect.Effect<ReadonlyArray<Gateway>, StorageUnavailable>
  readonly get: (name: GatewayName) => Effect.Effect<Gateway, GatewayNotFound | StorageUnavailable>
  /**
   * Of a gateway that a process defines itself, only `active` can be changed. A change to equal values has no effect,
   * so no device reconnects for it; setting a secret counts as a change. Stored secrets are not sent to another
   * server: with its URL they must be set again.
   */
  readonly edit: (name: GatewayName, edit: GatewayEdit) => Effect.Effect<
    Gateway,
    | GatewayNotFound
    | GatewayNotEditable
    | GatewayUrlInvalid
    | GatewaySecretsNeeded
    | SecretKeyMissing
    | StorageUnavailable
  >
  /** Refused while active devices use it, and for a gateway that a process defines itself. */
  readonly remove: (name: GatewayName) => Effect.Effect<
    void,
    GatewayNotFound | GatewayNotEditable | GatewayInUse | StorageUnavailable
  >
}>()("columba/services/GatewayManager") {
  static readonly layer = Layer.effect(
    GatewayManager,
    Effect.gen(function*() {
      const repository = yield* GatewayRepository
      const directory = yield* GatewayDirectory
      const adapters = yield* GatewayAdapters
      const seal = yield* SecretSeal

      /** This process follows at once; others by the change notice. */
      const followed = <A, E>(change: Effect.Effect<A, E>) => Effect.tap(change, () => directory.refresh)

      const sealChanges = Effect.fnUntraced(
        function*(owner: GatewayName, before: SealedSecrets, changes: SecretChanges) {
          const sealed: Partial<Record<GatewaySecretName, string>> = { ...before }
          for (const field of secretNames) {
            const secret = changes[field]
            if (secret === null) delete sealed[field]
            else if (secret !== undefined) sealed[field] = yield* seal.seal(secret, { owner, field })
          }
          return sealed
        }
      )

      const create: GatewayManager["Service"]["create"] = Effect.fn("GatewayManager.create")(function*(wanted) {
        const { dialect, name } = wanted
        if (!adapters.byDialect.has(dialect)) {
          return yield* DialectUnsupported.of(dialect, [...adapters.byDialect.keys()])
        }
        const { url, user, ...secrets } = yield* readConnection(wanted)
        const sealed = yield* sealChanges(name, {}, secrets)
        const insert = repository.insert({ name, dialect, url: url!, user: user ?? null, sealed, source: "api" })
        return (yield* followed(insert)).gateway
      })

      const edit: GatewayManager["Service"]["edit"] = Effect.fn("GatewayManager.edit")(function*(name, wanted) {
        const stored = yield* repository.get(name)
        const before = stored.gateway
        const { url, user, ...secrets } = yield* readConnection(wanted)
        const resealed = Object.values(secrets).some((one) => one !== undefined)
        if ((url !== undefined || user !== undefined || resealed) && before.source !== "api") {
          return yield* GatewayNotEditable.of(name, before.source)
        }
        if (url !== undefined && !isSameServer(url, before.url)) {
          const kept = sentSecretNames.filter((field) => before.secrets.includes(field) && secrets[field] === undefined)
          if (kept.length > 0) return yield* GatewaySecretsNeeded.of(name, kept)
        }
        const change: GatewayChange = {
          ...(resealed ? { sealed: yield* sealChanges(name, stored.sealed, secrets) } : {}),
          ...(url === undefined || url === before.url ? {} : { url }),
          ...(user === undefined || user === before.user ? {} : { user }),
          ...(wanted.active === undefined || wanted.active === before.active ? {} : { active: wanted.active })
        }
        // Every update is a new revision, for which devices reconnect.
        return Object.keys(change).length === 0 ? before : (yield* followed(repository.update(name, change))).gateway
      })

      const remove: GatewayManager["Service"]["remove"] = Effect.fn("GatewayManager.remove")(function*(name) {
        const { gateway: { source } } = yield* repository.get(name)
        if (source !== "api" && directory.brings(name)) return yield* GatewayNotEditable.of(name, source)
        yield* followed(repository.delete(name))
      })

      return GatewayManager.of({
        create,
        list: Effect.map(repository.list, (rows) => rows.map(readGateway)),
        get: (name) => Effect.map(repository.get(name), readGateway),
        edit,
        remove
      })
    })
  )
}

const isUser = Schema.is(GatewayUser)

const readGateway = ({ gateway }: StoredGateway): Gateway => gateway

/** Credentials in the URL become user and password, unless these are set as well. */
const readConnection = Effect.fnUntraced(function*(wanted: GatewayEdit) {
  const { apiKey, password, url, user, webhookSecret } = wanted
  if (url === undefined) return { url, user, password, apiKey, webhookSecret }
  const parsed = parseGatewayUrl(Redacted.value(url))
  if (parsed === null || (parsed.user !== null && !isUser(parsed.user))) return yield* GatewayUrlInvalid.instance
  return {
    url: parsed.url,
    user: user ?? parsed.user ?? user,
    password: password ?? (parsed.password === null ? password : Redacted.make(parsed.password)),
    apiKey,
    webhookSecret
  }
})
