/** The `gateways` table. Any process may write it; all processes follow its changes. */
import { Context } from "effect"
import type { Effect, Stream } from "effect"
import type { StorageUnavailable } from "../domain/DeviceErrors.ts"
import type { Gateway, GatewayDialect, GatewaySecretName, GatewaySource } from "../domain/Gateway.ts"
import type { GatewayInUse, GatewayNameTaken, GatewayNotFound } from "../domain/GatewayErrors.ts"
import type { GatewayName } from "../domain/Ids.ts"

/** Sealed texts by field. */
export type SealedSecrets = Readonly<Partial<Record<GatewaySecretName, string>>>

export interface StoredGateway {
  readonly gateway: Gateway
  readonly sealed: SealedSecrets
  /** Grows with every change after which an open gateway must be opened anew: URL, dialect, user, secrets, active. */
  readonly revision: number
}

/** The columns that a writer sets. */
export interface GatewayFields {
  readonly name: GatewayName
  readonly dialect: GatewayDialect
  readonly url: string
  readonly user: string | null
  readonly sealed: SealedSecrets
  readonly source: GatewaySource
}

export interface GatewayChange {
  readonly url?: string
  readonly user?: string | null
  /** Replaces all sealed secrets. */
  readonly sealed?: SealedSecrets
  readonly active?: boolean
}

export class GatewayRepository extends Context.Service<GatewayRepository, {
  /** Active from the start. */
  readonly insert: (fields: GatewayFields) => Effect.Effect<StoredGateway, GatewayNameTaken | StorageUnavailable>
  /** Inserts it, or overwrites all except `active` if something differs. Otherwise the revision stays. */
  readonly upsert: (fields: GatewayFields) => Effect.Effect<StoredGateway, StorageUnavailable>
  readonly get: (name: GatewayName) => Effect.Effect<StoredGateway, GatewayNotFound | StorageUnavailable>
  /** By name. */
  readonly list: Effect.Effect<ReadonlyArray<StoredGateway>, StorageUnavailable>
  readonly update: (
    name: GatewayName,
    change: GatewayChange
  ) => Effect.Effect<StoredGateway, GatewayNotFound | StorageUnavailable>
  /**
   * Refused while active devices use it. Inactive devices keep the name, and can be reactivated once it exists again.
   */
  readonly delete: (
    name: GatewayName
  ) => Effect.Effect<void, GatewayNotFound | GatewayInUse | StorageUnavailable>
  /**
   * A pulse whenever a row may have changed. There may be pulses without a change, and several changes may share one.
   */
  readonly changes: Stream.Stream<void>
}>()("columba/services/GatewayRepository") {}
